//! `/auth/refresh`, `/auth/logout*`, `/auth/sessions`, `/auth/csrf` and `/.well-known/jwks.json`.

use axum::http::header::{CACHE_CONTROL, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::middleware::authenticate;
use super::model::{CsrfProof, KeySet, Refresh, SessionInfo, SignedIn, Transport};
use super::{browser, cookie, refresh as rotation, service};
use crate::auth::error::Error;
use crate::auth::responses::{Responses, body_problems_and};
use crate::ctx::{Ctx, UserCtx};
use crate::ids::SessionId;
use crate::state::AppState;
use crate::web::{
    AuthProblems, BodyProblems, Code, Json, Moment, Page, PageParams, Paged, Path, PathProblems,
    Problem, QueryProblems, Routes,
};

/// Public keys, for other services.
pub fn well_known_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_jwks))
}

/// Authenticated by any token or cookie of the session.
pub fn csrf_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_csrf_token))
}

/// Authenticated by the refresh token.
pub fn token_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(refresh))
        .routes(routes!(logout))
}

pub fn logout_all_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(logout_all))
}

pub fn session_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
}

/// Go on with a session: the refresh token is used up and the next pair returned.
///
/// For a few seconds the used token still answers with the same next one, for clients whose reply
/// was lost and for tabs that refresh at once. After that its use ends the session. Without a body
/// the refresh cookie is meant, with the CSRF token in `X-CSRF-Token`.
#[utoipa::path(post, path = "/refresh", tag = "auth", security((), ("refresh_cookie" = [], "csrf" = [])),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses(
        (status = 200, description = "The next pair.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "Without a body: the next access and refresh cookie.")),
            examples(
                ("bearer" = (summary = "To a program", value = json!({ "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 900, "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "refresh_expires_in": 1_209_600 }))),
                ("cookie" = (summary = "To a browser", value = json!({ "csrf_token": "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "expires_in": 900, "refresh_expires_in": 1_209_600 }))))),
        RefreshProblems))]
async fn refresh(
    ctx: Ctx,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<Response, Problem> {
    let Some(Json(wanted)) = body else {
        return browser::refresh(&ctx, &headers).await;
    };
    let pair = rotation::refresh(&ctx, wanted.refresh_token, None).await?;
    Ok(cookie::token_response(&ctx, Transport::Bearer, pair))
}

/// Sign out.
///
/// Ends the session of the access token, or of the refresh token in the body for whoever has no
/// running access token any more, or of either cookie, with the CSRF token in `X-CSRF-Token`.
#[utoipa::path(post, path = "/logout", tag = "auth",
    security(("bearer" = []), ("cookie" = [], "csrf" = []), ("refresh_cookie" = [], "csrf" = []), ()),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses(
        (status = 204, description = "The session is over.",
            headers(("Set-Cookie" = Option<String>, description = "To a browser: both cookies, run out."))),
        AuthProblems, BodyProblems))]
async fn logout(
    ctx: Ctx,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<Response, Problem> {
    if body.is_none() && browser::is_browser(&ctx, &headers) {
        return browser::log_out(&ctx, &headers).await;
    }
    match (authenticate(&ctx, &headers).await, body) {
        (Ok(Some(who)), _) => service::log_out(&ctx, who).await?,
        (_, Some(Json(named))) => {
            rotation::log_out_by_token(&ctx, &named.refresh_token).await?;
        }
        (Ok(None), None) => return Err(Error::Unauthenticated.into()),
        (Err(problem), None) => return Err(problem),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sign out everywhere: ends all sessions of the account, and voids the links in its emails.
#[utoipa::path(post, path = "/logout-all", tag = "auth",
    responses((status = 204, description = "All sessions are over.")))]
async fn logout_all(ctx: UserCtx) -> Result<StatusCode, Problem> {
    service::log_out_everywhere(&ctx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// My living sessions, the last used first. The one that asks is marked.
#[utoipa::path(get, path = "/sessions", tag = "auth",
    params(PageParams),
    responses((status = 200, description = "A page of sessions.", body = Page<SessionInfo>), QueryProblems))]
async fn list_sessions(
    ctx: UserCtx,
    paged: Paged<Moment>,
) -> Result<Json<Page<SessionInfo>>, Problem> {
    let (user_id, session_id) = (ctx.user_id(), ctx.session_id());
    let page = service::list_sessions(&ctx.db, user_id, session_id, &paged, ctx.now()).await?;
    Ok(Json(page))
}

/// End one of my sessions. Its tokens are refused from now on.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "auth",
    params(("id" = SessionId, Path, description = "The session's id.")),
    responses((status = 204, description = "The session is over."), PathProblems))]
async fn end_session(ctx: UserCtx, Path(id): Path<SessionId>) -> Result<StatusCode, Problem> {
    service::end_session(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The CSRF token of my session, for a page that was loaded anew.
///
/// Calls that are signed by cookie and are not a GET carry it in `X-CSRF-Token`. It is good for as
/// long as the session is, and the refresh cookie alone is enough to get it.
#[utoipa::path(get, path = "/csrf", tag = "auth",
    security(("bearer" = []), ("cookie" = []), ("refresh_cookie" = [])),
    responses((status = 200, description = "The token.", body = CsrfProof), AuthProblems))]
async fn get_csrf_token(ctx: Ctx, headers: HeaderMap) -> Result<Response, Problem> {
    browser::csrf_token(&ctx, &headers).await
}

/// The public keys of our access tokens (RFC 7517 §5), for services that verify them themselves.
#[utoipa::path(get, path = "/jwks.json", tag = "auth",
    responses((status = 200, description = "The keys; the first one signs.", body = KeySet)))]
async fn get_jwks(ctx: Ctx) -> impl IntoResponse {
    let keys = KeySet {
        keys: ctx.keys.public().cloned().collect(),
    };
    (
        [(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        )],
        Json(keys),
    )
}

struct RefreshProblems;

impl IntoResponses for RefreshProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidRefreshToken, Code::CsrfRefused])
    }
}
