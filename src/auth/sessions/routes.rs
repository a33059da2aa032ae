//! `/auth/refresh`, `/auth/logout*`, `/auth/sessions`, `/auth/csrf` and `/.well-known/jwks.json`.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderMap};
use axum::response::{IntoResponse, Response};
use crypto::KeySet;
use http_toolkit::{
    BodyProblems, Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems,
    Routes, TimeCursor,
};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::routes;

use super::cookie::{self, ACCESS, REFRESH};
use super::middleware::authenticate;
use super::model::{CsrfProof, Refresh, SessionInfo, SignedIn, Transport};
use super::{browser, refresh as rotation, service};
use crate::auth::error::Error;
use crate::auth::responses::problem_groups;
use crate::ctx::{Ctx, UserCtx};
use crate::ids::SessionId;
use crate::state::AppState;
use crate::web::AuthProblems;

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

problem_groups! {
    RefreshProblems [InvalidRefreshToken, CsrfRefused];
}

/// Refresh the tokens of a session.
///
/// Returns the next pair of tokens; the refresh token is used up. For a few seconds the used token still returns
/// the same next one, for clients that lost the response and for tabs that refresh at the same time. After that,
/// using it again ends the session. Without a body the refresh cookie is used, with the CSRF token in
/// `X-CSRF-Token`.
#[utoipa::path(post, path = "/refresh", tag = "auth", security((), ("refresh_cookie" = [], "csrf" = [])),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn" })),
    responses(
        (status = 200, description = "The next pair of tokens.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "Without a body: the next access cookie and refresh cookie.")),
            examples(
                ("bearer" = (summary = "For programs", value = json!({ "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 900, "refresh_token": "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "refresh_expires_in": 1_209_600 }))),
                ("cookie" = (summary = "For browsers", value = json!({ "csrf_token": "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "expires_in": 900, "refresh_expires_in": 1_209_600 }))))),
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
/// Ends the session of the access token, of the refresh token in the body (for clients whose access token has
/// expired), or of either cookie, with the CSRF token in `X-CSRF-Token`.
#[utoipa::path(post, path = "/logout", tag = "auth",
    security(("bearer" = []), ("cookie" = [], "csrf" = []), ("refresh_cookie" = [], "csrf" = []), ()),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn" })),
    responses(
        (status = 204, description = "The session has ended.",
            headers(("Set-Cookie" = Option<String>, description = "For browsers: both cookies, expired."))),
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
            if let Some(who) = rotation::find_principal(&ctx, &named.refresh_token).await? {
                service::log_out(&ctx, who).await?;
            }
        }
        (Ok(None), None) => return Err(Error::Unauthenticated.into()),
        (Err(problem), None) => return Err(problem),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sign out everywhere.
///
/// Ends all sessions of the account. The links in its emails stop working.
#[utoipa::path(post, path = "/logout-all", tag = "auth",
    responses((status = 204, description = "All sessions have ended.")))]
async fn logout_all(ctx: UserCtx) -> Result<StatusCode, Problem> {
    service::log_out_everywhere(&ctx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List my active sessions, last used first.
///
/// `is_current` marks the session of the request.
#[utoipa::path(get, path = "/sessions", tag = "auth",
    params(PageParams),
    responses((status = 200, description = "A page of sessions.", body = Page<SessionInfo>), QueryProblems))]
async fn list_sessions(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<SessionInfo>>, Problem> {
    let (user_id, session_id) = (ctx.user_id(), ctx.session_id());
    let page = service::list_sessions(&ctx.db, user_id, session_id, &paged, ctx.now()).await?;
    Ok(Json(page))
}

/// End one of my sessions.
///
/// Its tokens stop working.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "auth",
    params(("id" = SessionId, Path, description = "The session's id.")),
    responses((status = 204, description = "The session has ended."), PathProblems))]
async fn end_session(ctx: UserCtx, Path(id): Path<SessionId>) -> Result<StatusCode, Problem> {
    service::end_session(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the CSRF token of my session.
///
/// Requests that are authenticated by cookie, except GET, send it in `X-CSRF-Token`. It is valid as long as the
/// session; the refresh cookie is sufficient to get it.
#[utoipa::path(get, path = "/csrf", tag = "auth",
    security(("bearer" = []), ("cookie" = []), ("refresh_cookie" = [])),
    responses((status = 200, description = "The token.", body = CsrfProof), AuthProblems))]
async fn get_csrf_token(ctx: Ctx, headers: HeaderMap) -> Result<Response, Problem> {
    browser::csrf_token(&ctx, &headers).await
}

/// Get the public keys of access tokens (RFC 7517 §5).
///
/// For services that verify access tokens themselves.
#[utoipa::path(get, path = "/jwks.json", tag = "auth",
    responses((status = 200, description = "The keys; the first one signs new tokens.", body = KeySet)))]
async fn get_jwks(ctx: Ctx) -> impl IntoResponse {
    let headers = [(CACHE_CONTROL, "public, max-age=300")];
    (headers, Json(ctx.access_tokens.keys().key_set()))
}

/// Adds the security schemes of sessions.
pub fn document_credentials(api: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "The `access_token` returned by `/auth/login` and `/auth/refresh`.",
        ));
    let access = "Set by `/auth/login` with transport `cookie`.";
    let refresh = "Set with it, and sent only to `/auth`.";
    let csrf = "The `csrf_token` of the session; required with cookies for every method but GET.";
    let key = |name: &str, text: &str| ApiKeyValue::with_description(name, text);
    let [access, refresh, csrf] = [
        ApiKey::Cookie(key(&ACCESS.https_name(), access)),
        ApiKey::Cookie(key(&REFRESH.https_name(), refresh)),
        ApiKey::Header(key("X-CSRF-Token", csrf)),
    ]
    .map(SecurityScheme::ApiKey);
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    components.add_security_scheme("cookie", access);
    components.add_security_scheme("refresh_cookie", refresh);
    components.add_security_scheme("csrf", csrf);
}
