//! Request id, in the response, the log and error reports.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::problem::Problem;
use clock::{Clock, Rng};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 64;

/// Request id: 1 to 64 of `A-Z a-z 0-9 . _ -`, since it goes into logs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RequestId(HeaderValue);

impl TryFrom<String> for RequestId {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let id = HeaderValue::try_from(raw).ok().and_then(Self::plain);
        id.ok_or("must be 1 to 64 of A-Z a-z 0-9 . _ -")
    }
}

impl RequestId {
    /// Reads `X-Request-Id`.
    pub(super) fn accept(headers: &HeaderMap) -> Option<Self> {
        headers.get(X_REQUEST_ID).cloned().and_then(Self::plain)
    }

    fn plain(id: HeaderValue) -> Option<Self> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=REQUEST_ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(plain);
        fits.then_some(Self(id))
    }

    pub(super) fn new(clock: &Clock, rng: &Rng) -> Self {
        let mut hex = [0; 32];
        let id = clock::uuid_v7(clock.now(), rng);
        let value = HeaderValue::from_str(id.simple().encode_lower(&mut hex));
        Self(value.unwrap_or(HeaderValue::from_static("none")))
    }

    /// The id as a header's value; a clone copies no text.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let context = RequestContext::of(&parts.extensions).ok_or(ProblemCode::INTERNAL)?;
        Ok(context.request_id().clone())
    }
}
