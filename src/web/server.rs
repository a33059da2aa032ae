//! The accept loop: what a connection may cost, how long it may idle or stall, and how it ends.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Request};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::code::Code;
use super::context::{RequestId, X_REQUEST_ID};
use super::headers::SecurityHeaders;
use super::problem::{PROBLEM_JSON, Problem};
use super::stall::Patient;
use crate::config::HttpConfig;
use crate::infra::{Clock, Rng};
use crate::metrics::{self, OpenConnection};

/// Request line and headers together; more is answered with 431 by hyper itself.
const HEAD_MAX: usize = 32 * 1024;
const BUFFER_MAX: usize = 64 * 1024;
/// While draining, a connection that is idle or brand new may still send one request for so long:
/// its client cannot know yet that we are leaving.
const LAST_CALL: Duration = Duration::from_millis(500);
/// Connections above the cap that are told so at the same time; more are closed without a word.
const TURNED_AWAY_MAX: usize = 64;
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
const WARN_EVERY: Duration = Duration::from_secs(10);

/// How the draining went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut at the drain deadline, most likely within a request.
    pub aborted: usize,
}

/// Serves `app` until `shutdown`, then finishes what was accepted, for `drain_timeout` at most.
///
/// Above `max_connections` a new connection is answered with 503 and closed, rather than left in
/// the backlog where its client would wait without knowing. Dropping the future cuts every
/// connection.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    config: &HttpConfig,
    shutdown: CancellationToken,
) -> Drained {
    let mut server = Server::new(app, config, shutdown.clone());
    let mut back_off = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = server.tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                back_off = BACK_OFF.0;
                server.admit(stream, peer);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                // Out of file descriptors or memory, most likely: others must finish first.
                tracing::error!(%error, "cannot accept connections");
                let _ = timeout(back_off, shutdown.cancelled()).await;
                back_off = (back_off * 2).min(BACK_OFF.1);
            }
        }
    }
    server.is_leaving.store(true, Ordering::Relaxed);
    // The kernel has completed these handshakes, so their clients count on an answer.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        server.admit(stream, peer);
    }
    drop(listener);
    server.drain(config.drain_timeout).await
}

struct Server {
    app: Router,
    http: http1::Builder,
    write_timeout: Duration,
    last_call: Duration,
    headers: SecurityHeaders,
    permits: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    warned: Option<Instant>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// The same as `stop`, which takes a lock to be asked.
    is_leaving: Arc<AtomicBool>,
}

impl Server {
    fn new(app: Router, config: &HttpConfig, stop: CancellationToken) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // One buffer: replies are small, and the kernel takes one sooner than a list of two.
            .writev(false)
            .header_read_timeout(config.header_timeout)
            .max_header_size(HEAD_MAX)
            .max_buf_size(BUFFER_MAX);
        Self {
            // Turns every handler into a service now instead of at each request.
            app: app.with_state(()),
            http,
            write_timeout: config.write_timeout,
            last_call: LAST_CALL.min(config.drain_timeout / 2),
            headers: SecurityHeaders::new(config),
            permits: Arc::new(Semaphore::new(config.max_connections)),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)),
            warned: None,
            tasks: JoinSet::new(),
            stop,
            is_leaving: Arc::default(),
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, self.write_timeout);
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            self.turn_away(stream);
            return;
        };
        let connection = self.connection(stream, peer, permit);
        self.tasks.spawn(connection);
    }

    fn connection(
        &self,
        stream: Patient<TcpStream>,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<> {
        let app = self.app.clone();
        let is_leaving = Arc::clone(&self.is_leaving);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let reply = app.clone().call(request);
            let is_leaving = Arc::clone(&is_leaving);
            async move {
                let mut response = reply.await?;
                if is_leaving.load(Ordering::Relaxed) {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let stop = self.stop.clone();
        let last_call = self.last_call;
        async move {
            let _permit = permit;
            let _counted = OpenConnection::begin();
            let mut connection = pin!(connection);
            let leaving = async {
                stop.cancelled().await;
                sleep(last_call).await;
            };
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = leaving => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended early");
            }
        }
    }

    fn turn_away(&mut self, mut stream: Patient<TcpStream>) {
        metrics::count_refused_connection();
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!("HTTP_MAX_CONNECTIONS is reached: new connections are turned away");
        }
        let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() else {
            return;
        };
        let reply = self.busy();
        self.tasks.spawn(async move {
            let _permit = permit;
            let tell = async {
                stream.write_all(reply.as_bytes()).await?;
                stream.shutdown().await
            };
            let _: io::Result<()> = tell.await;
        });
    }

    /// The reply to a connection above the cap, whose request nobody has read.
    fn busy(&self) -> String {
        let problem = Problem::new(Code::Busy);
        let status = problem.code().status();
        let id = RequestId::new(&Clock::system(), &Rng::system());
        let body = problem.body(status, Some(id.as_str()));
        let mut headers = HeaderMap::new();
        self.headers.set(&mut headers);
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CONTENT_LENGTH, body.len().into());
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut reply = format!("HTTP/1.1 {status}\r\n{X_REQUEST_ID}: {}\r\n", id.as_str());
        for (name, value) in &headers {
            let _ = write!(reply, "{name}: {}\r\n", value.to_str().unwrap_or_default());
        }
        reply + "\r\n" + &String::from_utf8_lossy(&body)
    }

    async fn drain(mut self, allowed: Duration) -> Drained {
        let all_end = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(allowed, all_end).await;
        while self.tasks.try_join_next().is_some() {}
        let aborted = self.tasks.len();
        // A task that blocks its thread cannot be cut and must not hold the exit up.
        let _ = timeout(LAST_CALL, self.tasks.shutdown()).await;
        Drained { aborted }
    }
}

/// Whether only the one connection failed, not the listener.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::AsyncReadExt as _;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::web::stack_test::config;
    use crate::web::{Client, RawBody};

    struct Running {
        addr: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<Drained>,
    }

    impl Running {
        async fn new(adjust: impl FnOnce(&mut HttpConfig)) -> Self {
            let mut config = config();
            config.header_timeout = Duration::from_millis(200);
            config.drain_timeout = Duration::from_millis(600);
            adjust(&mut config);
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let app = Router::new()
                .route("/", get(async || "hello"))
                .route(
                    "/slow",
                    get(async || sleep(Duration::from_millis(250)).await),
                )
                .route("/never", get(async || sleep(Duration::from_hours(1)).await))
                .route("/big", get(async || vec![0_u8; 64 * 1024 * 1024]))
                .route("/echo", post(async |RawBody(body): RawBody| body))
                .route("/me", get(async |client: Client| client.addr.to_string()))
                .layer(crate::web::RequestContext::new(
                    &config,
                    Clock::system(),
                    Rng::system(),
                ));
            let task = {
                let stop = stop.clone();
                tokio::spawn(async move { serve(listener, app, &config, stop).await })
            };
            Self { addr, stop, task }
        }

        async fn open(&self, sent: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.addr).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            stream
        }

        async fn ask(&self, sent: &str) -> String {
            rest(self.open(sent).await).await
        }

        async fn stop(self) -> Drained {
            self.stop.cancel();
            self.task.await.unwrap()
        }
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
            .await
            .unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn request(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
    }

    #[tokio::test]
    async fn requests_are_answered_and_know_their_peer() {
        let server = Running::new(|_| {}).await;
        let answer = server.ask(&request("/me")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
        assert_eq!(server.stop().await, Drained { aborted: 0 });
    }

    #[tokio::test]
    async fn silent_slow_and_idle_connections_are_closed() {
        let server = Running::new(|_| {}).await;
        let begun = Instant::now();
        assert_eq!(server.ask("").await, "");
        assert_eq!(server.ask("GET / HTT").await, "");
        assert!(server.ask(&request("/")).await.ends_with("hello"));
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_body_that_stalls_or_is_too_large_is_answered_and_closed() {
        let server = Running::new(|config| config.body_timeout = Duration::from_millis(200)).await;
        let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length:";
        let stalled = server.ask(&format!("{head} 10\r\n\r\nabc")).await;
        assert!(stalled.starts_with("HTTP/1.1 408 "), "{stalled}");
        assert!(stalled.contains("connection: close"), "{stalled}");
        let large = "x".repeat(3_000_000);
        let large = server.ask(&format!("{head} 3000000\r\n\r\n{large}")).await;
        assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    }

    #[tokio::test]
    async fn a_reply_that_is_not_read_is_given_up() {
        let server = Running::new(|config| config.write_timeout = Duration::from_millis(200)).await;
        let mut stream = server.open(&request("/big")).await;
        sleep(Duration::from_millis(600)).await;
        let mut count = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            count += read;
        }
        assert!(count < 64 * 1024 * 1024, "{count}");
    }

    #[tokio::test]
    async fn too_many_or_too_long_headers_are_431() {
        let server = Running::new(|_| {}).await;
        let many = "x: 1\r\n".repeat(150);
        let long = format!("x: {}\r\n", "y".repeat(40_000));
        for lines in [many, long] {
            let answer = server
                .ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n"))
                .await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
    }

    #[tokio::test]
    async fn above_the_cap_a_connection_is_told_and_room_comes_back() {
        let server = Running::new(|config| config.max_connections = 1).await;
        let first = server.open(&request("/slow")).await;
        sleep(Duration::from_millis(50)).await;
        let refused = server.ask(&request("/")).await;
        assert!(
            refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{refused}"
        );
        for part in [
            "retry-after: 1\r\n",
            "x-request-id: ",
            "nosniff",
            "\"code\":\"busy\"",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(rest(first).await.starts_with("HTTP/1.1 200 "));
        assert!(server.ask(&request("/")).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn draining_answers_what_runs_and_what_is_just_coming() {
        let server = Running::new(|config| config.drain_timeout = Duration::from_secs(2)).await;
        let running = server.open(&request("/slow")).await;
        let mut fresh = server.open("").await;
        sleep(Duration::from_millis(50)).await;
        server.stop.cancel();
        sleep(Duration::from_millis(50)).await;
        fresh.write_all(request("/").as_bytes()).await.unwrap();
        assert!(TcpStream::connect(server.addr).await.is_err());
        for stream in [running, fresh] {
            let answer = rest(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
        }
        assert_eq!(server.stop().await, Drained { aborted: 0 });
    }

    #[tokio::test]
    async fn what_does_not_finish_is_cut_and_counted() {
        let server = Running::new(|_| {}).await;
        let stuck = server.open(&request("/never")).await;
        sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        assert_eq!(server.stop().await, Drained { aborted: 1 });
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(rest(stuck).await, "");
    }
}
