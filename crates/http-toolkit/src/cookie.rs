//! Session cookies: `HttpOnly` and `SameSite=Strict`.
//!
//! Over https their names begin with `__Host-` or `__Secure-` (RFC 6265bis §4.1.3), so that plain-text origins
//! and, for the first, sub-domains cannot set them. Over plain http browsers reject these prefixes, so they are
//! omitted there. A suffix distinguishes services of one host ([`CookieScope`]).

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::CookieScope;

/// A cookie that is sent with all requests to the host, or with those below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: &'static str,
    path: Option<&'static str>,
}

/// A cookie that was sent more than once: another party has set one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousCookie;

impl SessionCookie {
    /// A cookie of the whole host.
    #[must_use]
    pub const fn host(name: &'static str) -> Self {
        Self { name, path: None }
    }

    /// A cookie that is sent below this path alone.
    #[must_use]
    pub const fn below(path: &'static str, name: &'static str) -> Self {
        let path = Some(path);
        Self { name, path }
    }

    const fn prefix(self, is_https: bool) -> &'static str {
        match self.path {
            _ if !is_https => "",
            None => "__Host-",
            Some(_) => "__Secure-",
        }
    }

    /// The name over https, without the suffix of the scope.
    #[must_use]
    pub fn https_name(self) -> String {
        format!("{}{}", self.prefix(true), self.name)
    }

    /// The value in a request.
    pub fn find<'a>(
        self,
        scope: &CookieScope,
        headers: &'a HeaderMap,
    ) -> Result<Option<&'a str>, AmbiguousCookie> {
        let prefix = self.prefix(scope.is_https);
        find(headers, prefix, self.name, &scope.suffix)
    }

    /// `Set-Cookie` value; 0 seconds delete the cookie.
    ///
    /// # Panics
    /// Unless the value is visible ASCII.
    #[must_use]
    pub fn set(self, scope: &CookieScope, value: &str, seconds: u64) -> HeaderValue {
        let (prefix, name, suffix) = (self.prefix(scope.is_https), self.name, &scope.suffix);
        let path = match self.path {
            None => "/".to_owned(),
            Some(path) => format!("{}{path}", scope.base_path),
        };
        let secure = if scope.is_https { "; Secure" } else { "" };
        let line = format!(
            "{prefix}{name}{suffix}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        );
        let mut line = HeaderValue::try_from(line).expect("all of it is plain ASCII");
        line.set_sensitive(true);
        line
    }
}

/// Searches all `Cookie` lines (RFC 6265 §4.2.1).
fn find<'a>(
    headers: &'a HeaderMap,
    prefix: &str,
    name: &str,
    suffix: &str,
) -> Result<Option<&'a str>, AmbiguousCookie> {
    let lines = headers.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let mut parts = [prefix, name, suffix, "="].into_iter();
        parts.try_fold(pair.trim_ascii(), |rest, part| {
            rest.strip_prefix(part.as_bytes())
        })
    });
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value)
            .map(Some)
            .map_err(|_| AmbiguousCookie),
        (Some(_), Some(_)) => Err(AmbiguousCookie),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: SessionCookie = SessionCookie::host("access");
    const REFRESH: SessionCookie = SessionCookie::below("/api/v1/auth", "refresh");

    fn cookies(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        for lines in [
            &["access=x"][..],
            &["a=1; access=x; b=2"],
            &["a=1;access=x"],
            &["a=1", "access=x"],
            &["my-access=y; access=x; access2=z; accessory"],
        ] {
            assert_eq!(
                find(&cookies(lines), "", "access", ""),
                Ok(Some("x")),
                "{lines:?}"
            );
        }
        for lines in [
            &[][..],
            &[""],
            &["a=1"],
            &["Access=x"],
            &["access"],
            &["b=access=x"],
        ] {
            assert_eq!(
                find(&cookies(lines), "", "access", ""),
                Ok(None),
                "{lines:?}"
            );
        }
        assert_eq!(find(&cookies(&["access="]), "", "access", ""), Ok(Some("")));
    }

    #[test]
    fn cookies_of_other_ports_and_paths_are_passed_over() {
        let lines = cookies(&["access=a; access-8000=b; access-8001=c; access-80=d; access.app=e"]);
        for (suffix, value) in [("", "a"), ("-8000", "b"), ("-8001", "c"), (".app", "e")] {
            assert_eq!(find(&lines, "", "access", suffix), Ok(Some(value)));
        }
        assert_eq!(find(&lines, "", "access", "-8002"), Ok(None));
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_neither() {
        for lines in [&["access=x; access=x"][..], &["access=x", "access=y"]] {
            assert_eq!(
                find(&cookies(lines), "", "access", ""),
                Err(AmbiguousCookie),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn cookies_are_kept_from_scripts_from_other_sites_and_from_plain_http() {
        let line = |cookie: SessionCookie, url: &str| {
            let scope = CookieScope::of(&url.parse().expect("it is a URL"));
            let line = cookie.set(&scope, "x", 900);
            assert!(line.is_sensitive());
            line.to_str().expect("it is text").to_owned()
        };
        assert_eq!(
            line(ACCESS, "https://example.com"),
            "__Host-access=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(REFRESH, "https://example.com"),
            "__Secure-refresh=x; Path=/api/v1/auth; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(ACCESS, "http://example.com"),
            "access=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            line(REFRESH, "http://example.com"),
            "refresh=x; Path=/api/v1/auth; Max-Age=900; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            line(ACCESS, "https://example.com/app"),
            "__Host-access.app=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(REFRESH, "https://example.com/app/"),
            "__Secure-refresh.app=x; Path=/app/api/v1/auth; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(ACCESS, "http://127.0.0.1:8000"),
            "access-8000=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict"
        );
    }
}
