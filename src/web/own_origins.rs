//! Whether the page behind a browser's call is one of ours.

use std::sync::Arc;

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::HttpConfig;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose pages may act for somebody who signed in with cookies: the public URL's own
/// and those of `ALLOWED_ORIGINS`. A clone is another handle on the same list.
#[derive(Clone, Debug)]
pub struct OwnOrigins(Arc<List>);

#[derive(Debug)]
struct List {
    is_https: bool,
    origins: Vec<HeaderValue>,
}

impl OwnOrigins {
    /// The list for these settings.
    #[must_use]
    pub fn new(config: &HttpConfig) -> Self {
        // As browsers write it (RFC 6454 §6.2): lower-case, and without a default port.
        let own = config.public_url.origin().ascii_serialization();
        let own = HeaderValue::try_from(own).ok();
        let origins = own.into_iter().chain(config.allowed_origins.clone());
        Self(Arc::new(List {
            is_https: config.is_https(),
            origins: origins.collect(),
        }))
    }

    /// Whether browsers reach the service by https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.is_https
    }

    /// Whether the browser says that one of our pages makes this call.
    ///
    /// Browsers name the page's origin in each call that may change something, and no script can
    /// write these headers. `Sec-Fetch-Site` (Fetch Metadata) refuses what comes from another site
    /// even if its origin is listed, because its cookies are `SameSite`, and stands in for a
    /// missing `Origin` only if the page is of this very origin. A call that says nothing of where
    /// it comes from is refused.
    #[must_use]
    pub fn vouch_for(&self, headers: &HeaderMap) -> bool {
        let (Ok(origin), Ok(site)) = (one(headers, &ORIGIN), one(headers, &SEC_FETCH_SITE)) else {
            return false;
        };
        match (origin, site.map(HeaderValue::as_bytes)) {
            (Some(origin), None | Some(b"same-origin" | b"same-site")) => {
                self.0.origins.contains(origin)
            }
            (None, Some(b"same-origin")) => true,
            _ => false,
        }
    }
}

/// A header that stands there more than once.
struct Ambiguous;

fn one<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, Ambiguous> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        _ => Err(Ambiguous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> OwnOrigins {
        OwnOrigins(Arc::new(List {
            is_https: true,
            origins: ["https://api.example.com", "https://app.example.com"]
                .map(HeaderValue::from_static)
                .to_vec(),
        }))
    }

    fn vouched(lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        ours().vouch_for(&headers)
    }

    #[test]
    fn a_page_of_ours_is_known_by_its_origin() {
        for lines in [
            &[("origin", "https://api.example.com")][..],
            &[("origin", "https://app.example.com")],
            &[
                ("origin", "https://app.example.com"),
                ("sec-fetch-site", "same-site"),
            ],
            &[
                ("origin", "https://api.example.com"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("sec-fetch-site", "same-origin")],
        ] {
            assert!(vouched(lines), "{lines:?}");
        }
    }

    #[test]
    fn every_other_page_and_none_at_all_are_refused() {
        for lines in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "https://example.com")],
            &[("origin", "http://app.example.com")],
            &[("origin", "https://app.example.com:8443")],
            &[("origin", "https://app.example.com.evil.example")],
            &[("origin", "https://app.example.com/")],
            &[
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("origin", "https://app.example.com"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[
                ("origin", "https://app.example.com"),
                ("sec-fetch-site", "none"),
            ],
            &[
                ("origin", "https://app.example.com"),
                ("origin", "https://evil.example"),
            ],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(!vouched(lines), "{lines:?}");
        }
    }
}
