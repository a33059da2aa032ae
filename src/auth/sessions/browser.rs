//! Browser mode: refresh, sign-out and CSRF token of a session whose tokens are cookies.

use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{Json, Problem, has_bearer};

use super::cookie::{self, ACCESS, REFRESH};
use super::model::{CsrfProof, RefreshToken, Transport};
use super::{middleware, refresh as rotation, service};
use crate::auth::error::Error;
use crate::ctx::{Ctx, Principal};
use crate::web::Code;

/// CSRF token of the session of the bearer token or, without one, of a cookie.
pub(crate) async fn csrf_token(ctx: &Ctx, headers: &HeaderMap) -> Result<Response, Problem> {
    let who = if has_bearer(headers) {
        middleware::authenticate(ctx, headers).await?
    } else {
        find_principal(ctx, headers).await?
    };
    let Some(who) = who else {
        return Ok(reject(ctx, headers, Code::Unauthenticated.into()));
    };
    let csrf_token = session_tokens::csrf_token(&ctx.csrf_macs, who.session_id.0);
    Ok(Json(CsrfProof { csrf_token }).into_response())
}

pub(crate) async fn refresh(ctx: &Ctx, headers: &HeaderMap) -> Result<Response, Problem> {
    if !cookie::is_present(ctx, headers, REFRESH) {
        return Err(Error::InvalidRefreshToken.into());
    }
    // Before the token is read: a page of another origin must not use it up.
    let session = cookie::check_csrf(ctx, headers)?;
    let refreshed = match refresh_token(ctx, headers) {
        Some(token) => rotation::refresh(ctx, token, Some(session)).await,
        None => Err(Error::InvalidRefreshToken),
    };
    match refreshed {
        Ok(pair) => Ok(cookie::token_response(ctx, Transport::Cookie, pair)),
        Err(error @ (Error::InvalidRefreshToken | Error::ReusedRefreshToken)) => {
            Ok(reject(ctx, headers, error.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the session of the cookies, and deletes them.
pub(crate) async fn log_out(ctx: &Ctx, headers: &HeaderMap) -> Result<Response, Problem> {
    let session = cookie::check_csrf(ctx, headers)?;
    if let Some(who) = find_principal(ctx, headers).await? {
        if who.session_id != session {
            return Err(Error::ForeignSession.into());
        }
        service::log_out(ctx, who).await?;
    }
    let response = StatusCode::NO_CONTENT.into_response();
    Ok(cookie::delete(ctx, response, &[ACCESS, REFRESH]))
}

/// Ends the browser's previous session before another begins: its cookies are overwritten, so it could not be
/// signed out.
pub(crate) async fn end_browser_session(ctx: &Ctx, headers: &HeaderMap) -> Result<(), Error> {
    if is_browser(ctx, headers)
        && let Some(who) = find_principal(ctx, headers).await?
    {
        service::log_out(ctx, who).await?;
    }
    Ok(())
}

/// Returns whether the request has cookies and no bearer token.
pub(crate) fn is_browser(ctx: &Ctx, headers: &HeaderMap) -> bool {
    let is_present = |cookie| cookie::is_present(ctx, headers, cookie);
    !has_bearer(headers) && [ACCESS, REFRESH].into_iter().any(is_present)
}

/// By the access cookie or, if that has expired, the refresh cookie.
async fn find_principal(ctx: &Ctx, headers: &HeaderMap) -> Result<Option<Principal>, Error> {
    if let Some(who) = middleware::find_cookie_principal(ctx, headers).await? {
        return Ok(Some(who));
    }
    match refresh_token(ctx, headers) {
        Some(token) => rotation::find_principal(ctx, &token).await,
        None => Ok(None),
    }
}

fn refresh_token(ctx: &Ctx, headers: &HeaderMap) -> Option<RefreshToken> {
    let scope = ctx.trusted_origins.cookie_scope();
    let raw = REFRESH.find(scope, headers).ok().flatten()?;
    RefreshToken::try_from(raw.to_owned()).ok()
}

/// Deletes the cookies that were rejected.
fn reject(ctx: &Ctx, headers: &HeaderMap, problem: Problem) -> Response {
    let response = problem.into_response();
    if is_browser(ctx, headers) {
        cookie::delete(ctx, response, &[ACCESS, REFRESH])
    } else {
        response
    }
}
