//! Browser mode: the tokens of a session as cookies, and CSRF protection of the requests that cookies authenticate.
//!
//! `SameSite=Strict` costs nothing: pages fetch this API, and no link of another site leads to it.

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{Json, SessionCookie, has_bearer};
use session_tokens::{csrf_token, session_of_csrf_token};

use super::model::{CookieSession, SignedIn, TokenPair, Transport};
use crate::auth::error::Error;
use crate::ids::SessionId;
use crate::state::AppState;

const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

pub(super) const ACCESS: SessionCookie = SessionCookie::host("access");

/// Only the routes that need the refresh token get it.
pub(super) const REFRESH: SessionCookie = SessionCookie::below("/api/v1/auth", "refresh");

pub(super) fn is_present(state: &AppState, headers: &HeaderMap, cookie: SessionCookie) -> bool {
    cookie.find(state.trusted_origins.cookie_scope(), headers) != Ok(None)
}

/// Returns whether the cookie alone authenticates this request. A bearer token takes precedence, and no page
/// of another site can make a browser add one; other `Authorization` schemes are ignored.
pub(super) fn is_sole_credential(state: &AppState, headers: &HeaderMap) -> bool {
    !has_bearer(headers) && is_present(state, headers, ACCESS)
}

/// Rejects sign-in by cookie from a page of another origin (login CSRF).
pub(crate) fn check_sign_in(
    state: &AppState,
    headers: &HeaderMap,
    transport: Transport,
) -> Result<(), Error> {
    match transport {
        Transport::Cookie if !state.trusted_origins.allow(headers) => Err(Error::ForeignPage),
        _ => Ok(()),
    }
}

/// Checks origin and CSRF token; returns the token's session, which the caller compares with that of the cookies.
pub(super) fn check_csrf(state: &AppState, headers: &HeaderMap) -> Result<SessionId, Error> {
    check_sign_in(state, headers, Transport::Cookie)?;
    let mut lines = headers.get_all(X_CSRF_TOKEN).iter();
    let (Some(token), None) = (lines.next(), lines.next()) else {
        return Err(Error::NoCsrfToken);
    };
    session_of_csrf_token(&state.csrf_macs, token.as_bytes())
        .map(SessionId)
        .ok_or(Error::ForeignSession)
}

/// Response with a token pair: in the body, or as cookies.
pub(crate) fn token_response(state: &AppState, transport: Transport, pair: TokenPair) -> Response {
    if transport == Transport::Bearer {
        return Json(SignedIn::Tokens(pair)).into_response();
    }
    let body = CookieSession {
        csrf_token: csrf_token(&state.csrf_macs, pair.session_id.0),
        expires_in: pair.expires_in,
        refresh_expires_in: pair.refresh_expires_in,
    };
    let mut response = Json(SignedIn::Cookies(body)).into_response();
    for (cookie, token, seconds) in [
        (ACCESS, &pair.access_token, pair.expires_in),
        (REFRESH, &pair.refresh_token, pair.refresh_expires_in),
    ] {
        set(state, &mut response, cookie, token, seconds);
    }
    response
}

pub(super) fn delete(
    state: &AppState,
    mut response: Response,
    cookies: &[SessionCookie],
) -> Response {
    for cookie in cookies {
        set(state, &mut response, *cookie, "", 0);
    }
    response
}

fn set(
    state: &AppState,
    response: &mut Response,
    cookie: SessionCookie,
    value: &str,
    seconds: u64,
) {
    let line = cookie.set(state.trusted_origins.cookie_scope(), value, seconds);
    response.headers_mut().append(SET_COOKIE, line);
}
