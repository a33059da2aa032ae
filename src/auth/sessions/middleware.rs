//! Authentication middleware: bearer token or session cookie.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use http_toolkit::{AmbiguousCookie, MiddlewareResult, Problem, bearer_token, has_bearer};
use session_tokens::RevocationStatus;

use super::cookie::{self, ACCESS, REFRESH};
use super::store;
use crate::auth::error::Error;
use crate::ctx::{Caller, Principal};
use crate::ids::{SessionId, UserId};
use crate::state::AppState;
use crate::web::Code;

/// Claims of a valid access token of an active session.
struct VerifiedSession {
    who: Principal,
    must_accept: bool,
}

impl VerifiedSession {
    fn caller(&self) -> Caller {
        Caller::new(self.who.user_id, self.who.session_id).bound_to_accept(self.must_accept)
    }
}

/// Requires a valid access token of an active session, unless middleware above has authenticated the request.
pub async fn require_session<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    if request.extensions().get::<Caller>().is_some() {
        return next(request).await;
    }
    if cookie::is_sole_credential(state, request.headers()) {
        return authenticate_browser(state, request, next).await;
    }
    let session = verify_bearer(state, request.headers())
        .await?
        .ok_or(Code::Unauthenticated)?;
    session.caller().enter(request.extensions_mut());
    next(request).await
}

/// Authenticates by the access cookie, checks the CSRF token, and deletes a cookie that is not valid.
async fn authenticate_browser<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let needs_csrf_token = !request.method().is_safe();
    let Some(session) = verify_cookie(state, request.headers()).await? else {
        let response = Problem::unauthenticated_token().into_response();
        return Ok(cookie::delete(state, response, &[ACCESS]));
    };
    if needs_csrf_token && cookie::check_csrf(state, request.headers())? != session.who.session_id {
        return Err(Error::ForeignSession.into());
    }
    session.caller().enter(request.extensions_mut());
    let response = next(request).await;
    if needs_csrf_token && status(state, session.who) == RevocationStatus::Revoked {
        let response = response.into_response();
        return Ok(cookie::delete(state, response, &[ACCESS, REFRESH]));
    }
    response
}

/// `None` without a valid access cookie.
pub(super) async fn find_cookie_principal(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Principal>, sqlx::Error> {
    Ok(verify_cookie(state, headers).await?.map(|it| it.who))
}

async fn verify_cookie(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<VerifiedSession>, sqlx::Error> {
    match ACCESS.find(state.trusted_origins.cookie_scope(), headers) {
        Ok(Some(token)) => verify_access_token(state, token).await,
        Ok(None) | Err(AmbiguousCookie) => Ok(None),
    }
}

/// `None` without a bearer token.
pub(super) async fn authenticate(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Problem> {
    Ok(verify_bearer(state, headers).await?.map(|it| it.who))
}

async fn verify_bearer(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<VerifiedSession>, Problem> {
    if !has_bearer(headers) {
        return Ok(None);
    }
    let token = bearer_token(headers).ok_or_else(Problem::unauthenticated_token)?;
    let session = verify_access_token(state, token).await?;
    session.map(Some).ok_or_else(Problem::unauthenticated_token)
}

/// `None` unless the token is valid and its session active.
async fn verify_access_token(
    state: &AppState,
    token: &str,
) -> Result<Option<VerifiedSession>, sqlx::Error> {
    let now = state.clock.now();
    let Ok(claims) = state.access_tokens.verify(token, now) else {
        return Ok(None);
    };
    let who = Principal {
        user_id: UserId(claims.sub),
        session_id: SessionId(claims.sid),
    };
    let is_active = match status(state, who) {
        RevocationStatus::Active => true,
        RevocationStatus::Revoked => false,
        // The list is stale: read the database, and fail closed.
        RevocationStatus::Unknown => {
            store::is_active(&state.db, who.user_id, who.session_id, now).await?
        }
    };
    Ok(is_active.then_some(VerifiedSession {
        who,
        must_accept: claims.must_accept,
    }))
}

fn status(state: &AppState, who: Principal) -> RevocationStatus {
    let list = &state.revocation_list;
    list.status(who.user_id.0, who.session_id.0)
}
