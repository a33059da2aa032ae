//! Entity tags (RFC 9110 §8.8.3), so that a client which has a page is not sent it again.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::IF_NONE_MATCH;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The tag of a page, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(HeaderValue);

impl Etag {
    /// The tag of these bytes: the same wherever they are served from.
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

    /// The header's value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Whether the client has the page already (RFC 9110 §13.1.2): the comparison is weak.
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
