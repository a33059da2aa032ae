//! Trusted origins, for CSRF checks by `Origin` and Fetch Metadata.

use std::sync::Arc;

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::config::{HttpConfig, LOOPBACK};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Origins whose pages may use cookie sessions: that of the public URL, and the allowed origins. Clones share the
/// list.
#[derive(Clone, Debug)]
pub struct TrustedOrigins(Arc<List>);

#[derive(Debug)]
struct List {
    cookies: CookieScope,
    origins: Vec<HeaderValue>,
}

/// Prefix, name suffix and path of cookies, by the public URL.
#[derive(Clone, Debug)]
pub struct CookieScope {
    /// True if browsers reach the service by https.
    pub is_https: bool,
    /// The path of the public URL without the slash at its end.
    pub base_path: String,
    /// The end of each name. Cookies are shared by all ports of a host, and by all paths for those
    /// with the prefix `__Host-`: services that differ by either would overwrite each other's.
    pub suffix: String,
}

impl CookieScope {
    /// The scope for a public URL. Over https the port is no part of it, so that names stay as they are.
    #[must_use]
    pub fn of(public_url: &Url) -> Self {
        let is_https = public_url.scheme() == "https";
        let base_path = public_url.path().trim_end_matches('/');
        let port = public_url.port().filter(|_| !is_https);
        let port = port.map_or_else(String::new, |port| format!("-{port}"));
        Self {
            is_https,
            base_path: base_path.to_owned(),
            suffix: port + &base_path.replace('/', "."),
        }
    }
}

impl TrustedOrigins {
    #[must_use]
    pub fn new(config: &HttpConfig) -> Self {
        let own = own_urls(config).filter_map(|url| {
            // As browsers write it (RFC 6454 §6.2): lower-case, and without a default port.
            HeaderValue::try_from(url.origin().ascii_serialization()).ok()
        });
        Self(Arc::new(List {
            cookies: CookieScope::of(&config.public_url),
            origins: own.chain(config.allowed_origins.clone()).collect(),
        }))
    }

    /// Prefix, name suffix and path of cookies.
    #[must_use]
    pub fn cookie_scope(&self) -> &CookieScope {
        &self.0.cookies
    }

    /// Returns whether a browser sent the request from a page of a trusted origin.
    ///
    /// Browsers send the page's origin with each request that may change something, and no script can write these
    /// headers. `Sec-Fetch-Site` (Fetch Metadata) rejects other sites even if their origin is listed, because cookies
    /// are `SameSite`, and replaces a missing `Origin` only for a page of the same origin. A request without either
    /// is rejected.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
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

/// The public URL, and in development the same by the other names of this machine.
fn own_urls(config: &HttpConfig) -> impl Iterator<Item = Url> {
    let url = &config.public_url;
    let is_loopback = url.host_str().is_some_and(|host| LOOPBACK.contains(&host));
    let others = LOOPBACK
        .into_iter()
        .filter(move |name| is_loopback && config.allowed_hosts.iter().any(|host| host == name));
    let others = others.filter_map(|name| {
        let mut other = url.clone();
        other.set_host(Some(name)).ok().map(|()| other)
    });
    std::iter::once(url.clone()).chain(others)
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

    fn ours() -> TrustedOrigins {
        TrustedOrigins(Arc::new(List {
            cookies: CookieScope::of(&"https://api.example.com".parse().unwrap()),
            origins: ["https://api.example.com", "https://app.example.com"]
                .map(HeaderValue::from_static)
                .to_vec(),
        }))
    }

    fn allowed(lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        ours().allow(&headers)
    }

    #[test]
    fn cookie_names_differ_by_path_and_over_http_by_port() {
        for (url, suffix, base_path) in [
            ("https://example.com", "", ""),
            ("https://example.com:8443/", "", ""),
            ("http://127.0.0.1", "", ""),
            ("http://127.0.0.1:80", "", ""),
            ("http://127.0.0.1:8000", "-8000", ""),
            ("http://localhost:8001/app", "-8001.app", "/app"),
            ("https://example.com/app", ".app", "/app"),
            ("https://example.com/app/", ".app", "/app"),
            ("https://example.com/a/b-c_D", ".a.b-c_D", "/a/b-c_D"),
        ] {
            let scope = CookieScope::of(&url.parse().unwrap());
            assert_eq!(scope.suffix, suffix, "{url}");
            assert_eq!(scope.base_path, base_path, "{url}");
        }
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
            assert!(allowed(lines), "{lines:?}");
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
            assert!(!allowed(lines), "{lines:?}");
        }
    }
}
