//! Entity tags (RFC 9110 §8.8.3), and replies that are served with one.

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
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
        headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.0)
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
