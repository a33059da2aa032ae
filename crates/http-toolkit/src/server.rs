//! Accept loop with connection caps, timeouts and graceful shutdown.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Request};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::client::Proxies;
use crate::code::ProblemCode;
use crate::config::HttpConfig;
use crate::connection::{Connection, ReplyBody, expects_continue};
use crate::headers::SecurityHeaders;
use crate::idle::{NoTimer, Timed, WaitLimits};
use crate::metrics::{self, OpenConnection};
use crate::per_client::{Counted, PerClient};
use crate::problem::{PROBLEM_JSON, Problem};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::write_timeout::WriteTimeoutStream;
use clock::{Clock, Rng};

/// Request line and headers together; more is refused with 431 by hyper itself.
const HEAD_MAX: usize = 32 * 1024;
/// Buffer of a connection for a request head, and for a reply that is not sent yet.
const BUFFER_MAX: usize = HEAD_MAX;
/// While draining, a connection that is idle or brand new may still send one request for so long:
/// its client cannot know yet that we are leaving.
const LAST_CALL: Duration = Duration::from_millis(500);
/// Connections above the cap that get a response at the same time; more are closed without one.
const REJECTED_MAX: usize = 64;
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Result of the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections aborted at the drain deadline, most likely within a request.
    pub aborted: usize,
}

/// Serves `app` until `shutdown`, then drains for `drain_timeout` at most.
///
/// Above `max_connections` a new connection gets 503 and is closed, rather than left in the backlog; above
/// `max_connections_per_client` it gets 429. Dropping the future aborts every connection.
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
                server.accept(stream, peer);
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
        server.accept(stream, peer);
    }
    drop(listener);
    server.drain(config.drain_timeout).await
}

struct Server {
    app: Router,
    http: http1::Builder,
    wait_limits: WaitLimits,
    write_timeout: Duration,
    last_call: Duration,
    headers: SecurityHeaders,
    permits: Arc<Semaphore>,
    proxies: Proxies,
    per_client: PerClient,
    rejected: Arc<Semaphore>,
    warned: Option<Instant>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// The same as `stop`, which takes a lock to be asked.
    is_leaving: Arc<AtomicBool>,
}

impl Server {
    fn new(app: Router, config: &HttpConfig, stop: CancellationToken) -> Self {
        if config.requires_https && config.trusted_proxies.is_empty() {
            tracing::warn!(
                "TRUSTED_PROXIES is empty: every request by plain http is redirected or refused"
            );
        }
        let mut http = http1::Builder::new();
        // One buffer: replies are small, and the kernel takes one sooner than a list of two.
        http.writev(false)
            .timer(NoTimer)
            .header_read_timeout(config.header_timeout)
            .max_header_size(HEAD_MAX)
            .max_buf_size(BUFFER_MAX);
        Self {
            // Converts every handler into a service now instead of at each request.
            app: app.with_state(()),
            http,
            wait_limits: WaitLimits {
                head: config.header_timeout,
                idle: config.idle_timeout,
            },
            write_timeout: config.write_timeout,
            last_call: LAST_CALL.min(config.drain_timeout / 2),
            headers: SecurityHeaders::new(config),
            permits: Arc::new(Semaphore::new(config.max_connections)),
            proxies: Proxies::new(config),
            per_client: PerClient::new(config.max_connections_per_client),
            rejected: Arc::new(Semaphore::new(REJECTED_MAX)),
            warned: None,
            tasks: JoinSet::new(),
            stop,
            is_leaving: Arc::default(),
        }
    }

    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let stream = WriteTimeoutStream::new(stream, self.write_timeout);
        let addr = peer.ip().to_canonical();
        // Behind a proxy's connections are many clients; limiting them is the proxy's part.
        let client = if self.proxies.trusts(addr) {
            None
        } else if let Some(counted) = self.per_client.count(addr, 1) {
            Some(counted)
        } else {
            metrics::count_refused("connections");
            self.reject(stream, ProblemCode::RATE_LIMITED);
            return;
        };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            metrics::count_refused_connection();
            self.warn_of_cap();
            self.reject(stream, ProblemCode::BUSY);
            return;
        };
        let connection = self.connection(stream, peer, (permit, client));
        self.tasks.spawn(connection);
    }

    fn connection(
        &self,
        stream: WriteTimeoutStream<TcpStream>,
        peer: SocketAddr,
        counted: (OwnedSemaphorePermit, Option<Counted>),
    ) -> impl Future<Output = ()> + Send + use<> {
        let app = self.app.clone();
        let is_leaving = Arc::clone(&self.is_leaving);
        let shared = Arc::<Connection>::default();
        let stream = Timed::new(stream, Arc::clone(&shared), self.wait_limits);
        let service = service_fn(move |request: Request<Incoming>| {
            let serving = shared.serve();
            let expects_continue = expects_continue(request.headers());
            let mut request = serving.request(request);
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
                let connection = serving.connection();
                connection.settle(expects_continue, &mut response).await;
                Ok::<_, Infallible>(response.map(|body| ReplyBody::new(body, serving)))
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let stop = self.stop.clone();
        let last_call = self.last_call;
        async move {
            let _counted = (counted, OpenConnection::begin());
            let mut connection = pin!(connection);
            let leaving = async {
                stop.cancelled().await;
                sleep(last_call).await;
            };
            // The connection first: a request that has arrived by now is read before the shutdown closes a
            // connection that looks idle, however late a busy process comes to it.
            let ended = tokio::select! {
                biased;
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

    fn warn_of_cap(&mut self) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!("HTTP_MAX_CONNECTIONS is reached: new connections are rejected");
        }
    }

    fn reject(&mut self, mut stream: WriteTimeoutStream<TcpStream>, code: ProblemCode) {
        let Ok(permit) = Arc::clone(&self.rejected).try_acquire_owned() else {
            return;
        };
        let reply = self.rejection(code);
        self.tasks.spawn(async move {
            let _permit = permit;
            let reply = async {
                stream.write_all(reply.as_bytes()).await?;
                stream.shutdown().await
            };
            let _: io::Result<()> = reply.await;
        });
    }

    /// The reply to a connection above a cap, whose request nobody has read.
    fn rejection(&self, code: ProblemCode) -> String {
        let problem = Problem::new(code);
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
mod tests;
