//! `/auth/refresh`, `/auth/logout*`, `/auth/sessions`, `/auth/csrf` and `/.well-known/jwks.json`.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::gate::authenticate;
use super::model::{CsrfProof, Device, KeySet, Refresh, SignedIn, Transport};
use super::{browser, cookie, refresh as rotation, service};
use crate::audit::Origin;
use crate::auth::error::Error;
use crate::auth::responses::{Responses, body_problems_and};
use crate::ids::SessionId;
use crate::infra::{Clock, Db};
use crate::state::AppState;
use crate::web::{
    AuthProblems, BodyProblems, Client, Code, Json, Moment, Page, PageParams, Paged, Path,
    PathProblems, Principal, Problem, QueryProblems, RequestId, Routes,
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
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    let Some(Json(wanted)) = body else {
        return browser::refresh(&state, &headers, &origin).await;
    };
    let pair = rotation::refresh(&state, wanted.refresh_token, None, &origin).await?;
    Ok(cookie::answer(&state, Transport::Bearer, pair))
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
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    if body.is_none() && browser::is_calling(&state, &headers) {
        return browser::log_out(&state, &headers, &origin).await;
    }
    match (authenticate(&state, &headers).await, body) {
        (Ok(Some(who)), _) => service::log_out(&state, who, &origin).await?,
        (_, Some(Json(named))) => {
            rotation::log_out_by_token(&state, &named.refresh_token, &origin).await?;
        }
        (Ok(None), None) => return Err(Error::Unauthenticated.into()),
        (Err(problem), None) => return Err(problem),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sign out everywhere: ends all sessions of the account, and voids the links in its emails.
#[utoipa::path(post, path = "/logout-all", tag = "auth",
    responses((status = 204, description = "All sessions are over.")))]
async fn logout_all(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
) -> Result<StatusCode, Problem> {
    service::log_out_everywhere(&state, me, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// My living sessions, the last used first. The one that asks is marked.
#[utoipa::path(get, path = "/sessions", tag = "auth",
    params(PageParams),
    responses((status = 200, description = "A page of sessions.", body = Page<Device>), QueryProblems))]
async fn list_sessions(
    me: Principal,
    State(db): State<Db>,
    State(clock): State<Clock>,
    paged: Paged<Moment>,
) -> Result<Json<Page<Device>>, Problem> {
    let (user_id, session_id) = (me.user_id, me.session_id);
    let page = service::list_sessions(&db, user_id, session_id, &paged, clock.now()).await?;
    Ok(Json(page))
}

/// End one of my sessions. Its tokens are refused from now on.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "auth",
    params(("id" = SessionId, Path, description = "The session's id.")),
    responses((status = 204, description = "The session is over."), PathProblems))]
async fn end_session(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    service::end_session(&state, me, id, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The CSRF token of my session, for a page that was loaded anew.
///
/// Calls that are signed by cookie and are not a GET carry it in `X-CSRF-Token`. It is good for as
/// long as the session is, and the refresh cookie alone is enough to get it.
#[utoipa::path(get, path = "/csrf", tag = "auth",
    security(("bearer" = []), ("cookie" = []), ("refresh_cookie" = [])),
    responses((status = 200, description = "The token.", body = CsrfProof), AuthProblems))]
async fn get_csrf_token(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    browser::csrf_token(&state, &headers).await
}

/// The public keys of our access tokens (RFC 7517 §5), for services that verify them themselves.
#[utoipa::path(get, path = "/jwks.json", tag = "auth",
    responses((status = 200, description = "The keys; the first one signs.", body = KeySet)))]
async fn get_jwks(State(state): State<AppState>) -> impl IntoResponse {
    let keys = KeySet {
        keys: state.keys.public().cloned().collect(),
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
