//! Entity tags (RFC 9110 §8.8.3), replies that are served with one, and conditions of requests that write.

use std::convert::Infallible;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::header::{
    AsHeaderName, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;

/// Strong entity tag, with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(HeaderValue);

impl Etag {
    /// Truncated SHA-256 of the content.
    ///
    /// # Panics
    /// Never: base64 is plain text.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = digest(&SHA256, bytes);
        let short = BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12]);
        let tag = HeaderValue::try_from(format!("\"{short}\""));
        Self(tag.expect("base64 is plain text"))
    }

    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Evaluates `If-None-Match` (RFC 9110 §13.1.2) with weak comparison.
    #[must_use]
    pub fn is_held(&self, headers: &HeaderMap) -> bool {
        tags(headers, IF_NONE_MATCH)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.0)
    }
}

/// Entity tags of all lines of a header.
fn tags(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// `If-Match` and `If-None-Match` of a request that changes a resource (RFC 9110 §13.1).
#[derive(Clone, Debug)]
pub struct Preconditions(HeaderMap);

impl Preconditions {
    /// Returns whether they hold for a resource with this tag, or for none. `If-Match` compares strongly; a malformed
    /// one does not hold.
    #[must_use]
    pub fn hold(&self, current: Option<&Etag>) -> bool {
        let has_match = || {
            let mut tags = tags(&self.0, IF_MATCH);
            current.is_some_and(|current| tags.any(|tag| tag == "*" || tag == current.0))
        };
        let is_held = current.is_some_and(|current| current.is_held(&self.0));
        !is_held && (!self.0.contains_key(IF_MATCH) || has_match())
    }
}

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut headers = HeaderMap::new();
        for name in [IF_MATCH, IF_NONE_MATCH] {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(Self(headers))
    }
}

/// JSON reply that is serialized once and sent many times.
#[derive(Clone, Debug)]
pub struct PreparedJson {
    json: Bytes,
    etag: Etag,
}

impl PreparedJson {
    /// Serializes a value.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let json = Bytes::from(serde_json::to_vec(value)?);
        let etag = Etag::of(&json);
        Ok(Self { json, etag })
    }

    /// The reply to a request with these headers: 304 if the client has it.
    pub fn respond(&self, headers: &HeaderMap, cache_control: HeaderValue) -> Response {
        let mut response = if self.etag.is_held(headers) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], self.json.clone()).into_response()
        };
        response.headers_mut().insert(CACHE_CONTROL, cache_control);
        response.headers_mut().insert(ETAG, self.etag.header());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_hold_for_the_current_tag_alone() {
        let tag = Etag::of(b"page");
        let own = tag.header();
        let own = own.to_str().unwrap();
        let weak = format!("W/{own}");
        let listed = format!("\"x\", {own}");
        for (name, value, with_tag, without) in [
            (IF_MATCH, own, true, false),
            (IF_MATCH, &*listed, true, false),
            (IF_MATCH, "*", true, false),
            (IF_MATCH, &*weak, false, false),
            (IF_MATCH, "\"x\"", false, false),
            (IF_MATCH, "", false, false),
            (IF_NONE_MATCH, "*", false, true),
            (IF_NONE_MATCH, &*weak, false, true),
            (IF_NONE_MATCH, "\"x\"", true, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(&name, value.parse().unwrap());
            let conditions = Preconditions(headers);
            let held = (conditions.hold(Some(&tag)), conditions.hold(None));
            assert_eq!(held, (with_tag, without), "{name}: {value}");
        }
        let none = Preconditions(HeaderMap::new());
        assert!(none.hold(Some(&tag)) && none.hold(None));
    }

    #[test]
    fn a_tag_is_found_in_any_line_and_weak_ones_count() {
        let tag = Etag::of(b"page");
        assert_ne!(tag, Etag::of(b"another page"));
        let held = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, line.parse().unwrap());
            }
            tag.is_held(&headers)
        };
        let own = tag.header();
        let own = own.to_str().unwrap();
        assert!(held(&[own]));
        assert!(held(&["*"]));
        assert!(held(&["\"x\"", &format!("\"y\" , W/{own}")]));
        assert!(!held(&[]));
        assert!(!held(&["\"x\"", own.trim_matches('"'), ""]));
    }
}
