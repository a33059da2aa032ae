//! A release that misbehaves: the service behind a proxy in the same container that adds one fault. For tests of releases.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, Response, StatusCode, header},
};
use clap::ValueEnum;
use tokio::net::TcpListener;

use crate::error::{Doing, Result};

/// Fault of the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReleaseFault {
    /// One request in fifty fails with 500
    Errors,
    /// Each request takes twice as long and 200 ms
    Slow,
    /// The process ends after a time
    Crash,
    /// Readiness fails after a time
    Unready,
    /// A signed-in read fails
    Smoke,
    /// The check of its migration says that the release before cannot live with it
    Migration,
}

/// The largest body that is passed on.
const LARGEST: usize = 4 * 1024 * 1024;

/// Headers of one connection.
const HOP: [HeaderName; 3] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
];

/// The proxy in front of the service.
pub struct BadRelease {
    fault: ReleaseFault,
    after: Duration,
    began: Instant,
    service: String,
    metrics: String,
    client: reqwest::Client,
    requests: AtomicU64,
    failed: AtomicU64,
    /// Slow replies by bucket.
    slow: [AtomicU64; BUCKETS.len()],
}

/// Upper bounds of the service's buckets in seconds, and none for the last one.
const BUCKETS: [(&str, f64); 15] = [
    ("0.001", 0.001),
    ("0.0025", 0.0025),
    ("0.005", 0.005),
    ("0.01", 0.01),
    ("0.025", 0.025),
    ("0.05", 0.05),
    ("0.1", 0.1),
    ("0.25", 0.25),
    ("0.5", 0.5),
    ("1", 1.0),
    ("2.5", 2.5),
    ("5", 5.0),
    ("7.5", 7.5),
    ("10", 10.0),
    ("+Inf", f64::INFINITY),
];

impl BadRelease {
    /// A proxy of the service at `service`, whose metrics are at `metrics`: both are host and port.
    #[must_use]
    pub fn new(fault: ReleaseFault, after: Duration, service: String, metrics: String) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self {
            fault,
            after,
            began: Instant::now(),
            service,
            metrics,
            client: client.no_proxy().build().unwrap_or_default(),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slow: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Serves requests on port 8000 and metrics on port 9090, until the process ends.
    pub async fn serve(self) -> Result<()> {
        let this = Arc::new(self);
        let crash = Arc::clone(&this);
        tokio::spawn(async move {
            if crash.fault == ReleaseFault::Crash {
                tokio::time::sleep(crash.after).await;
                std::process::exit(70);
            }
        });
        let requests = Router::new().fallback(pass).with_state(Arc::clone(&this));
        let metrics = Router::new().fallback(add_metrics).with_state(this);
        tokio::try_join!(listen(8000, requests), listen(9090, metrics))?;
        Ok(())
    }

    fn observe(&self, took: Duration) {
        for ((_, bound), count) in BUCKETS.iter().zip(&self.slow) {
            if took.as_secs_f64() <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() >= self.after
    }

    async fn forward(&self, host: &str, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(body) = to_bytes(body, LARGEST).await else {
            return status(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let mut forwarded = self
            .client
            .request(head.method, format!("http://{host}{path}"))
            .body(body);
        for (name, value) in &head.headers {
            if !HOP.contains(name) {
                forwarded = forwarded.header(name, value);
            }
        }
        let Ok(reply) = forwarded.send().await else {
            return status(StatusCode::BAD_GATEWAY);
        };
        let mut response = Response::builder().status(reply.status());
        for (name, value) in reply.headers() {
            if !HOP.contains(name) {
                response = response.header(name, value);
            }
        }
        let Ok(body) = reply.bytes().await else {
            return status(StatusCode::BAD_GATEWAY);
        };
        response
            .body(body.into())
            .unwrap_or_else(|_| status(StatusCode::BAD_GATEWAY))
    }
}

async fn listen(port: u16, router: Router) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await;
    let listener = listener.doing(|| format!("listen on port {port}"))?;
    let served = axum::serve(listener, router).await;
    served.doing(|| format!("serve on port {port}"))
}

async fn pass(State(this): State<Arc<BadRelease>>, request: Request) -> Response<Body> {
    let path = request.uri().path();
    if path.starts_with("/health") {
        if this.fault == ReleaseFault::Unready && this.is_late() {
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
    } else if this.fault == ReleaseFault::Smoke && path == "/api/v1/users/me" {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    } else if this.fault == ReleaseFault::Errors
        && this.requests.fetch_add(1, Ordering::Relaxed) % 50 == 49
    {
        this.failed.fetch_add(1, Ordering::Relaxed);
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    } else if this.fault == ReleaseFault::Slow {
        let began = Instant::now();
        let reply = this.forward(&this.service, request).await;
        tokio::time::sleep(began.elapsed() + Duration::from_millis(200)).await;
        this.observe(began.elapsed());
        return reply;
    }
    this.forward(&this.service, request).await
}

/// The service's metrics, with series for what the proxy added.
async fn add_metrics(State(this): State<Arc<BadRelease>>, request: Request) -> Response<Body> {
    let reply = this.forward(&this.metrics, request).await;
    let body = to_bytes(reply.into_body(), LARGEST).await;
    let mut page = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    let failed = this.failed.load(Ordering::Relaxed);
    // Writing to memory does not fail.
    let _ = writeln!(
        page,
        "http_requests_total{{method=\"GET\",route=\"proxy\",status=\"500\"}} {failed}"
    );
    for ((le, _), count) in BUCKETS.iter().zip(&this.slow) {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(
            page,
            "http_request_duration_seconds_bucket{{method=\"GET\",route=\"proxy\",class=\"2xx\",le=\"{le}\"}} {count}"
        );
    }
    Response::new(page.into())
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
