//! One connection: how long it may wait for a request, and what of a request's body nobody read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// A body of a refused request is read to its end if it is no larger and no slower than this, so
/// that the connection can be used again. Otherwise the reply says that it closes.
const DRAIN_MAX: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What the socket of a connection and its requests share. HTTP/1.1 has one request at a time.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Requests that began and that ended: odd while one is being served.
    events: AtomicUsize,
    /// A request's body that its handler dropped before the end.
    unread: Mutex<Option<Incoming>>,
}

impl Connection {
    /// Begins a request.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.events.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    fn take_unread(&self) -> Option<Incoming> {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.take()
    }

    /// Reads what is left of a small body, or lets the reply say that the connection closes
    /// (RFC 9112 §9.3, §9.6): the client would otherwise send its next request into it.
    pub(super) async fn settle<B>(&self, expects_continue: bool, response: &mut Response<B>) {
        let Some(unread) = self.take_unread() else {
            return;
        };
        if response.headers().contains_key(CONNECTION) {
            return;
        }
        // Reading would ask a client for its body that waits to be asked.
        if expects_continue || !is_drained(unread).await {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
    }
}

/// Whether the client sends its body after an interim response alone.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

/// Reads the rest of a body; `false` if that is too large or too slow.
async fn is_drained(mut body: Incoming) -> bool {
    if body.size_hint().lower() > DRAIN_MAX {
        return false;
    }
    let drain = async {
        let mut read = 0;
        while !body.is_end_stream() {
            match body.frame().await {
                None => break,
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len) as u64,
                Some(Err(_)) => return false,
            }
            if read > DRAIN_MAX {
                return false;
            }
        }
        true
    };
    timeout(DRAIN_TIME, drain).await.unwrap_or(false)
}

/// A request that is being served, until this is dropped.
#[derive(Debug)]
pub(super) struct Serving(Arc<Connection>);

impl Serving {
    /// The request as the router takes it: what its handler leaves of the body is kept.
    pub(super) fn request(&self, request: Request<Incoming>) -> Request<Body> {
        request.map(|incoming| {
            if incoming.is_end_stream() {
                return Body::empty();
            }
            Body::new(RequestBody {
                incoming: Some(incoming),
                connection: Arc::clone(&self.0),
            })
        })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.events.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request's body, which leaves its unread rest to the connection.
struct RequestBody {
    /// `None` once it has ended.
    incoming: Option<Incoming>,
    connection: Arc<Connection>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.incoming.as_ref().map(HttpBody::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|rest| !rest.is_end_stream());
        if rest.is_some() {
            let mut unread = self
                .connection
                .unread
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *unread = rest;
        }
    }
}

/// A reply's body: its request is being served until it is sent.
pub(super) struct ReplyBody {
    body: Body,
    _serving: Serving,
}

impl ReplyBody {
    pub(super) fn new(body: Body, serving: Serving) -> Self {
        Self {
            body,
            _serving: serving,
        }
    }
}

impl HttpBody for ReplyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a connection may wait for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimits {
    /// From the first byte of a head, or from the connection's first moment, to a whole head.
    pub(super) head: Duration,
    /// From a reply to the first byte of the next head.
    pub(super) idle: Duration,
}

/// A stream that ends where a request does not come in time. hyper has one limit for an idle
/// connection and for a slow head; they differ by what balancers keep and by what attackers use.
#[derive(Debug)]
pub(super) struct Timed<S> {
    stream: S,
    connection: Arc<Connection>,
    limits: WaitLimits,
    events: usize,
    wait: Option<Wait>,
    /// Moved where it has fired, and where a deadline is earlier: not for each request.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Instant,
    in_head: bool,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>, limits: WaitLimits) -> Self {
        Self {
            stream,
            connection,
            limits,
            events: 0,
            wait: Some(Wait {
                until: Instant::now() + limits.head,
                in_head: true,
            }),
            timer: None,
        }
    }

    /// Whether a request is being served, whose time has limits of its own.
    fn is_serving(&mut self) -> bool {
        let events = self.connection.events.load(Ordering::Relaxed);
        if events != self.events {
            self.events = events;
            self.wait = None;
        }
        events % 2 == 1
    }

    fn begin_head(&mut self) {
        if !self.wait.is_some_and(|wait| wait.in_head) {
            self.wait = Some(Wait {
                until: Instant::now() + self.limits.head,
                in_head: true,
            });
        }
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let idle = self.limits.idle;
        let wait = *self.wait.get_or_insert_with(|| Wait {
            until: Instant::now() + idle,
            in_head: false,
        });
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(wait.until)));
        if timer.deadline() > wait.until {
            timer.as_mut().reset(wait.until);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= wait.until {
                return Poll::Ready(if wait.in_head {
                    Err(io::ErrorKind::TimedOut.into())
                } else {
                    // As if the client had closed it.
                    Ok(())
                });
            }
            timer.as_mut().reset(wait.until);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.is_serving() {
            return read;
        }
        if read.is_pending() {
            return self.poll_limit(cx);
        }
        if buffer.filled().len() > before {
            self.begin_head();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    const LIMITS: WaitLimits = WaitLimits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
    };

    fn pair() -> (Timed<DuplexStream>, DuplexStream, Arc<Connection>) {
        let (ours, theirs) = duplex(1024);
        let connection = Arc::<Connection>::default();
        let timed = Timed::new(ours, Arc::clone(&connection), LIMITS);
        (timed, theirs, connection)
    }

    /// Reads until nothing comes any more; returns how long that took, and what ended it.
    async fn wait(stream: &mut Timed<DuplexStream>) -> (u64, Option<io::ErrorKind>) {
        let begun = Instant::now();
        let error = stream.read_to_end(&mut Vec::new()).await.err();
        (begun.elapsed().as_secs(), error.map(|error| error.kind()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_the_connections_beginning() {
        let (mut stream, mut peer, _) = pair();
        tokio::spawn(async move {
            while peer.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(wait(&mut stream).await, (10, Some(io::ErrorKind::TimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_has_its_own_time_and_ends_cleanly() {
        let (mut stream, _peer, connection) = pair();
        for _ in 0..3 {
            drop(connection.serve());
            assert_eq!(wait(&mut stream).await, (75, None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_has_its_time_from_its_first_byte() {
        let (mut stream, mut peer, connection) = pair();
        drop(connection.serve());
        let writer = tokio::spawn(async move {
            sleep(Duration::from_secs(60)).await;
            peer.write_all(b"GET").await.unwrap();
            peer
        });
        assert_eq!(wait(&mut stream).await, (70, Some(io::ErrorKind::TimedOut)));
        drop(writer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_served_is_not_interrupted() {
        let (mut stream, _peer, connection) = pair();
        let serving = connection.serve();
        let read = timeout(Duration::from_mins(10), wait(&mut stream)).await;
        assert!(read.is_err());
        drop(serving);
        assert_eq!(wait(&mut stream).await, (75, None));
    }
}
