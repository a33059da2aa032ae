//! Reads a `multipart/form-data` body (RFC 7578) part by part, without buffering it.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use futures_util::stream::{Stream, poll_fn, try_unfold};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use crate::bodies::{Reserved, no_memory};
use crate::body::{DEFAULT_TIMEOUT, announced, cut_off, refuse_encoded, too_late};
use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::fault;
use crate::per_client::Counted;
use crate::problem::Problem;

/// Bytes of a body besides those that [`Multipart::allow`] adds: fields, headers and boundaries.
const FRAME_MAX: u64 = 64 * 1024;

/// Bytes that must arrive within each body timeout, or the rest of the body: against clients that send a few at a time.
const PROGRESS: usize = 64 * 1024;

/// Memory that counts for a body on its way through the process, in the buffers of both connections.
const MEMORY: u64 = 512 * 1024;

/// A form whose parts are read one after the other. While it is received the request has no slot and the deadline of the
/// handler is moved on: the client has `HTTP_BODY_TIMEOUT` for each 64 KiB.
pub struct Multipart {
    form: multer::Multipart<'static>,
    demand: Arc<Demand>,
}

/// A part of a form.
pub struct Part {
    field: multer::Field<'static>,
    demand: Arc<Demand>,
}

/// How much of the body the parser is given. By itself it would buffer all that arrives without waiting.
#[derive(Debug)]
struct Demand {
    /// Bytes of the whole body.
    allowed: AtomicU64,
    /// False until the parser has looked at what it has.
    needs_more: AtomicBool,
}

impl<S: Sync> FromRequest<S> for Multipart {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        refuse_encoded(&parts.headers)?;
        let boundary = boundary(&parts.headers)?;
        let context = RequestContext::of(&parts.extensions);
        let counted = context
            .map(|context| count(context, announced(&parts.headers, &body)))
            .transpose()?;
        let demand = Arc::new(Demand {
            allowed: FRAME_MAX.into(),
            needs_more: false.into(),
        });
        let incoming = Incoming {
            body,
            timeout: context.map_or(DEFAULT_TIMEOUT, RequestContext::body_timeout),
            context: context.cloned(),
            waited: Duration::ZERO,
            moved: 0,
            received: 0,
            demand: Arc::clone(&demand),
            _counted: counted,
        };
        Ok(Self {
            form: multer::Multipart::new(incoming.into_stream(), boundary),
            demand,
        })
    }
}

fn boundary(headers: &HeaderMap) -> Result<String, Problem> {
    let value = headers.get(CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    multer::parse_boundary(value).map_err(|error| match error {
        multer::Error::NoBoundary => malformed("the content type has no boundary"),
        _ => Problem::new(ProblemCode::UNSUPPORTED_MEDIA_TYPE)
            .detail("the content type must be multipart/form-data"),
    })
}

/// Counts a body in transit, and gives the slot of its request back. `length` is 0 if the client has not announced it.
fn count(context: &RequestContext, length: u64) -> Result<(Counted, Reserved), Problem> {
    let (bodies, client) = (context.bodies(), context.client_addr());
    let in_transit = bodies.wait_for(client)?;
    let memory = if length == 0 {
        MEMORY
    } else {
        length.min(MEMORY)
    };
    let memory = usize::try_from(memory).ok();
    let reserved = memory.and_then(|memory| bodies.reserve(memory, client));
    let reserved = reserved.ok_or_else(no_memory)?;
    context.release_slot();
    Ok((in_transit, reserved))
}

impl Multipart {
    /// Allows so many bytes more than the 64 KiB for fields and headers.
    pub fn allow(&self, bytes: u64) {
        self.demand.allowed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The next part. What is unread of the last one is skipped. `None` at the end of the form.
    pub async fn next(&mut self) -> Result<Option<Part>, Problem> {
        self.demand.reset();
        let field = self
            .form
            .next_field()
            .await
            .map_err(|error| broken(&error))?;
        if field.as_ref().is_some_and(|field| field.name().is_none()) {
            return Err(malformed("a part has no name"));
        }
        Ok(field.map(|field| Part {
            field,
            demand: Arc::clone(&self.demand),
        }))
    }
}

impl Part {
    #[must_use]
    pub fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// Media type in lower case, without parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let content_type = self.field.content_type()?;
        Some(content_type.essence_str())
    }

    /// The next bytes, of at least one. `None` at the end of the part.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            self.demand.reset();
            match self.field.chunk().await.map_err(|error| broken(&error))? {
                Some(chunk) if chunk.is_empty() => {}
                chunk => return Ok(chunk),
            }
        }
    }

    /// Reads the part as a text of at most `most` bytes.
    pub async fn text(mut self, most: usize) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > most {
                return Err(self.refuse("invalid", "is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| self.refuse("invalid", "must be UTF-8"))
    }

    /// A problem with this part, whose rest is not read.
    #[must_use]
    pub fn refuse(&self, code: &'static str, message: &'static str) -> Problem {
        let name = fault::cut(self.name(), fault::PATH_MAX).into_owned();
        Problem::new(ProblemCode::INVALID_FIELDS)
            .field(name, code, message)
            .closing()
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart").finish_non_exhaustive()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Broken {
    #[error("the body ended before it was whole")]
    Cut,
    #[error("the body does not arrive")]
    Stalled,
    #[error("the form has more bytes than it may")]
    TooLarge,
}

fn broken(error: &multer::Error) -> Problem {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<Broken>());
    match cause {
        Some(Broken::Cut) => cut_off(),
        Some(Broken::Stalled) => too_late(),
        Some(Broken::TooLarge) => Problem::new(ProblemCode::PAYLOAD_TOO_LARGE)
            .detail("the form has more than 64 KiB besides its file")
            .closing(),
        None => malformed("the body is not whole, or no multipart/form-data with this boundary"),
    }
}

fn malformed(detail: &'static str) -> Problem {
    Problem::new(ProblemCode::BAD_REQUEST)
        .detail(detail)
        .closing()
}

/// A body on its way.
struct Incoming {
    body: Body,
    context: Option<RequestContext>,
    timeout: Duration,
    /// How long the client was waited for since the last progress.
    waited: Duration,
    /// Bytes since then.
    moved: usize,
    received: u64,
    demand: Arc<Demand>,
    _counted: Option<(Counted, Reserved)>,
}

impl Demand {
    fn reset(&self) {
        self.needs_more.store(false, Ordering::Relaxed);
    }
}

impl Incoming {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
        let demand = Arc::clone(&self.demand);
        let mut chunks = Box::pin(try_unfold(self, |mut incoming| async {
            let next = incoming.next().await?;
            Ok(next.map(|bytes| (bytes, incoming)))
        }));
        poll_fn(move |cx| {
            if !demand.needs_more.swap(true, Ordering::Relaxed) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let chunk = ready!(chunks.as_mut().poll_next(cx));
            demand.reset();
            Poll::Ready(chunk)
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.received > self.demand.allowed.load(Ordering::Relaxed) {
            return Err(Broken::TooLarge);
        }
        let (began, left) = (Instant::now(), self.timeout.saturating_sub(self.waited));
        self.count_from(began + left);
        let frame = timeout(left, self.body.frame()).await;
        self.count_from(Instant::now());
        let Some(frame) = frame.map_err(|_| Broken::Stalled)? else {
            return Ok(None);
        };
        let frame = frame.map_err(|_| Broken::Cut)?;
        let bytes = frame.into_data().unwrap_or_default();
        self.waited += began.elapsed();
        self.moved += bytes.len();
        if self.moved >= PROGRESS {
            (self.waited, self.moved) = (Duration::ZERO, 0);
        }
        self.received += bytes.len() as u64;
        Ok(Some(bytes))
    }

    fn count_from(&self, moment: Instant) {
        if let Some(context) = &self.context {
            context.count_from(moment);
        }
    }
}

#[cfg(test)]
mod tests;
