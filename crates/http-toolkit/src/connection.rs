//! State that a connection and its requests share: whether one is being served, and what of a request's
//! body nobody read.

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
use tokio::time::timeout;

/// A body of a refused request is read to its end if it is no larger and no slower than this, so
/// that the connection can be used again. Otherwise the reply says that it closes.
const DRAIN_MAX: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// State that the socket of a connection and its requests share. HTTP/1.1 has one request at a time.
#[derive(Debug, Default)]
pub(super) struct Connection {
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

    /// Requests that began and that ended, together: odd while one is being served.
    pub(super) fn events(&self) -> usize {
        self.events.load(Ordering::Relaxed)
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

/// Returns whether the client sends its body after an interim response alone.
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
