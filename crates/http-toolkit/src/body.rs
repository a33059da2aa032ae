//! Reads a request body as a whole, with a size limit and a timeout.

use std::net::IpAddr;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::time::{Instant, timeout};

use crate::bodies::{Bodies, Whole};
use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::problem::Problem;

/// Maximum body size in bytes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit(usize);

/// What a route that takes JSON mostly needs.
const DEFAULT_LIMIT: BodyLimit = BodyLimit(16 * 1024);
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Layer with the maximum body size of its routes in bytes; of two, the inner one counts. The default is 16 KiB.
pub fn body_limit(bytes: usize) -> Extension<BodyLimit> {
    Extension(BodyLimit(bytes))
}

/// Raw body, for signature checks.
#[derive(Clone, Debug)]
pub struct RawBody(pub Bytes);

impl<S: Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request).await.map(Self)
    }
}

/// Reads the body. The time it takes is the client's, not the handler's, and meanwhile the request
/// has no slot.
pub(super) async fn read(request: Request) -> Result<Bytes, Problem> {
    let (parts, mut body) = request.into_parts();
    refuse_encoded(&parts.headers)?;
    let BodyLimit(limit) = parts.extensions.get().copied().unwrap_or(DEFAULT_LIMIT);
    if announced(&parts.headers, &body) > limit as u64 {
        return Err(too_large(limit));
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // A small body mostly arrives with its head.
    let first = match body.frame().now_or_never() {
        Some(Some(frame)) => data(frame)?,
        Some(None) => return Ok(Bytes::new()),
        None => Bytes::new(),
    };
    if first.len() > limit {
        return Err(too_large(limit));
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let context = RequestContext::of(&parts.extensions);
    let allowed = context.map_or(DEFAULT_TIMEOUT, RequestContext::body_timeout);
    let bodies = context.map(|context| (context.bodies(), context.client_addr()));
    let rest = timeout(allowed, collect(first, body, limit, bodies));
    let Some(context) = context else {
        return rest.await.unwrap_or_else(|_| Err(too_late()));
    };
    let waited_for = context.bodies().wait_for(context.client_addr())?;
    let had_slot = context.release_slot();
    context.count_from(Instant::now() + allowed);
    let whole = rest.await;
    context.count_from(Instant::now());
    drop(waited_for);
    let whole = whole.unwrap_or_else(|_| Err(too_late()))?;
    if had_slot {
        context.take_slot()?;
    }
    Ok(whole)
}

/// Puts the parts of a body together.
async fn collect(
    first: Bytes,
    mut body: Body,
    limit: usize,
    bodies: Option<(&Bodies, IpAddr)>,
) -> Result<Bytes, Problem> {
    let mut whole = Whole::new(limit);
    whole.add(&first, bodies)?;
    // Its buffer is that of the connection.
    drop(first);
    while let Some(frame) = body.frame().await {
        let part = data(frame)?;
        if whole.exceeds_limit(&part) {
            return Err(too_large(limit));
        }
        whole.add(&part, bodies)?;
    }
    Ok(whole.into_bytes())
}

/// The data of a frame; trailers have none.
fn data(frame: Result<Frame<Bytes>, axum::Error>) -> Result<Bytes, Problem> {
    let frame = frame.map_err(|_| cut_off())?;
    Ok(frame.into_data().unwrap_or_default())
}

pub(super) fn cut_off() -> Problem {
    Problem::new(ProblemCode::BAD_REQUEST)
        .detail("the body ended before it was whole")
        .closing()
}

pub(super) fn too_late() -> Problem {
    Problem::new(ProblemCode::REQUEST_TIMEOUT).closing()
}

/// Nothing here decompresses, so that a small request cannot become a large one.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Problem::new(ProblemCode::UNSUPPORTED_MEDIA_TYPE)
                .detail("the body must not be compressed")
                .closing())
        }
        _ => Ok(()),
    }
}

pub(super) fn announced(headers: &HeaderMap, body: &Body) -> u64 {
    let header = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    body.size_hint().lower().max(header.unwrap_or(0))
}

fn too_large(limit: usize) -> Problem {
    Problem::new(ProblemCode::PAYLOAD_TOO_LARGE)
        .detail(format!("the body may have at most {limit} bytes"))
        .closing()
}
