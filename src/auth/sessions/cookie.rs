//! Browser mode: the tokens of a session as `HttpOnly` cookies.
//!
//! Both are `SameSite=Strict`, which costs nothing: pages fetch this API, and no link of another site leads to it.
//! Over https their names begin with `__Host-` and `__Secure-` (RFC 6265bis §4.1.3), so that plain-text origins
//! and, for the first, sub-domains cannot set them. Over plain http browsers reject these prefixes, so they are
//! omitted there. A suffix distinguishes services of one host ([`CookieScope`]).

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};

use super::bearer::has_bearer;
use super::csrf;
use super::model::{CookieSession, SignedIn, TokenPair, Transport};
use crate::state::AppState;
use crate::web::{CookieScope, Json, Problem};

/// Only the routes that need the refresh token get it.
const REFRESH_PATH: &str = "/api/v1/auth";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    Access,
    Refresh,
}

/// A cookie that was sent more than once: another party has set one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

impl Cookie {
    /// Without the suffix of the scope.
    pub(crate) const fn name(self, is_https: bool) -> &'static str {
        match (self, is_https) {
            (Self::Access, true) => "__Host-access",
            (Self::Access, false) => "access",
            (Self::Refresh, true) => "__Secure-refresh",
            (Self::Refresh, false) => "refresh",
        }
    }

    fn path(self, base_path: &str) -> String {
        match self {
            Self::Access => "/".to_owned(),
            Self::Refresh => format!("{base_path}{REFRESH_PATH}"),
        }
    }

    pub(crate) fn find<'a>(
        self,
        state: &AppState,
        headers: &'a HeaderMap,
    ) -> Result<Option<&'a str>, Ambiguous> {
        let scope = state.own_origins.cookies();
        find(headers, self.name(scope.is_https), &scope.suffix)
    }

    pub(crate) fn is_present(self, state: &AppState, headers: &HeaderMap) -> bool {
        self.find(state, headers) != Ok(None)
    }

    /// `Set-Cookie` value; 0 seconds delete the cookie.
    fn set(self, scope: &CookieScope, value: &str, seconds: u64) -> HeaderValue {
        let (name, suffix) = (self.name(scope.is_https), &scope.suffix);
        let path = self.path(&scope.base_path);
        let secure = if scope.is_https { "; Secure" } else { "" };
        let line = format!(
            "{name}{suffix}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        );
        let mut line = HeaderValue::try_from(line).expect("all of it is plain ASCII");
        line.set_sensitive(true);
        line
    }
}

/// Searches all `Cookie` lines (RFC 6265 §4.2.1).
fn find<'a>(
    headers: &'a HeaderMap,
    name: &str,
    suffix: &str,
) -> Result<Option<&'a str>, Ambiguous> {
    let lines = headers.get_all(COOKIE).into_iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(suffix.as_bytes())?.strip_prefix(b"=")
    });
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

/// Rejects sign-in by cookie from a page of another origin (login CSRF).
pub(crate) fn check_sign_in(
    state: &AppState,
    headers: &HeaderMap,
    transport: Transport,
) -> Result<(), Problem> {
    match transport {
        Transport::Bearer => Ok(()),
        Transport::Cookie => csrf::check_origin(state, headers),
    }
}

/// Response with a token pair: in the body, or as cookies.
pub(crate) fn token_response(state: &AppState, transport: Transport, pair: TokenPair) -> Response {
    match transport {
        Transport::Bearer => Json(SignedIn::Tokens(pair)).into_response(),
        Transport::Cookie => {
            let scope = state.own_origins.cookies();
            let body = CookieSession {
                csrf_token: csrf::token(&state.csrf_macs, pair.session_id),
                expires_in: pair.expires_in,
                refresh_expires_in: pair.refresh_expires_in,
            };
            let lines = [
                Cookie::Access.set(scope, &pair.access_token, pair.expires_in),
                Cookie::Refresh.set(scope, &pair.refresh_token, pair.refresh_expires_in),
            ];
            with(Json(SignedIn::Cookies(body)).into_response(), lines)
        }
    }
}

pub(crate) fn clear(state: &AppState, response: Response) -> Response {
    delete_cookies(state, response, &[Cookie::Access, Cookie::Refresh])
}

pub(crate) fn delete_cookies(state: &AppState, response: Response, cookies: &[Cookie]) -> Response {
    let scope = state.own_origins.cookies();
    with(
        response,
        cookies.iter().map(|cookie| cookie.set(scope, "", 0)),
    )
}

fn with(mut response: Response, lines: impl IntoIterator<Item = HeaderValue>) -> Response {
    for line in lines {
        response.headers_mut().append(SET_COOKIE, line);
    }
    response
}

/// Returns whether the cookie alone authenticates this request. A bearer token takes precedence, and no page
/// of another site can make a browser add one; other `Authorization` schemes are ignored.
pub(crate) fn is_sole_credential(state: &AppState, headers: &HeaderMap) -> bool {
    !has_bearer(headers) && Cookie::Access.is_present(state, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

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
                find(&cookies(lines), "access", ""),
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
            assert_eq!(find(&cookies(lines), "access", ""), Ok(None), "{lines:?}");
        }
        assert_eq!(find(&cookies(&["access="]), "access", ""), Ok(Some("")));
    }

    #[test]
    fn cookies_of_other_ports_and_paths_are_passed_over() {
        let lines = cookies(&["access=a; access-8000=b; access-8001=c; access-80=d; access.app=e"]);
        for (suffix, value) in [("", "a"), ("-8000", "b"), ("-8001", "c"), (".app", "e")] {
            assert_eq!(find(&lines, "access", suffix), Ok(Some(value)));
        }
        assert_eq!(find(&lines, "access", "-8002"), Ok(None));
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_neither() {
        for lines in [&["access=x; access=x"][..], &["access=x", "access=y"]] {
            assert_eq!(
                find(&cookies(lines), "access", ""),
                Err(Ambiguous),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn cookies_are_kept_from_scripts_from_other_sites_and_from_plain_http() {
        let line = |cookie: Cookie, url: &str| {
            let scope = CookieScope::of(&url.parse().expect("it is a URL"));
            let line = cookie.set(&scope, "x", 900);
            assert!(line.is_sensitive());
            line.to_str().expect("it is text").to_owned()
        };
        assert_eq!(
            line(Cookie::Access, "https://example.com"),
            "__Host-access=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(Cookie::Refresh, "https://example.com"),
            "__Secure-refresh=x; Path=/api/v1/auth; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(Cookie::Access, "http://example.com"),
            "access=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            line(Cookie::Refresh, "http://example.com"),
            "refresh=x; Path=/api/v1/auth; Max-Age=900; HttpOnly; SameSite=Strict"
        );
        assert_eq!(
            line(Cookie::Access, "https://example.com/app"),
            "__Host-access.app=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(Cookie::Refresh, "https://example.com/app/"),
            "__Secure-refresh.app=x; Path=/app/api/v1/auth; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            line(Cookie::Access, "http://127.0.0.1:8000"),
            "access-8000=x; Path=/; Max-Age=900; HttpOnly; SameSite=Strict"
        );
    }
}
