//! Middleware that decides which account a request acts for, and rejects what the caller's role does not permit.

use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{MiddlewareResult, Problem};

use super::membership::{find_role, find_target};
use super::slug::{AccountRef, Slug};
use crate::ctx::{Caller, Credential};
use crate::policy::Policy;
use crate::state::AppState;
use crate::web::Code;

const X_ACCOUNT: HeaderName = HeaderName::from_static("x-account");

/// Longest value of the header.
const MAX_LENGTH: usize = 64;

/// The request names an account that the caller is not a member of. It is rejected below the rate limit of the
/// caller's personal account, so that accounts cannot be guessed at any rate.
#[derive(Clone, Copy, Debug)]
struct NoMember;

/// Chooses the account: of the path if the group's paths name one, of the header `X-Account`, or else the personal
/// one. An API key has one account for good.
pub async fn resolve_account<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let header = header_account(state, request.headers())?;
    let (mut parts, body) = request.into_parts();
    let in_path = if policy.names_account {
        // They cannot be read where an id is not UTF-8.
        let params = RawPathParams::from_request_parts(&mut parts, &())
            .await
            .ok();
        let id = params.iter().flatten().find(|(name, _)| *name == "id");
        Some(id.map_or(AccountRef::Unknown, |(_, text)| AccountRef::parse(text)))
    } else {
        None
    };
    let is_path = in_path.is_some();
    let mut request = Request::from_parts(parts, body);
    let Some(named) = in_path.or(header) else {
        return next(request).await;
    };
    let target = find_target(state, named).await?;
    if let Credential::ApiKey(_) = caller.credential {
        if target.account_id != caller.account_id() {
            return Err(bad_header("names another account than that of the API key"));
        }
        return next(request).await;
    }
    if target.account_id == caller.user_id.personal_account() && !is_path {
        return next(request).await;
    }
    let Some(role) = find_role(state, target.account_id, caller.user_id).await? else {
        request.extensions_mut().insert(NoMember);
        return next(request).await;
    };
    if let Some(slug) = target.renamed_to.filter(|_| is_path) {
        return redirect(request.uri(), &slug);
    }
    // What belongs to the user, such as a password, is done for nobody else.
    if policy.permission.is_some() {
        let caller = caller.acting_for(target.account_id, role);
        caller.enter(request.extensions_mut());
    }
    next(request).await
}

/// The account that the header names, if there is one.
fn header_account(state: &AppState, headers: &HeaderMap) -> Result<Option<AccountRef>, Problem> {
    let mut values = headers.get_all(X_ACCOUNT).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if !state.organisations.enabled {
        return Err(bad_header("is not supported"));
    }
    if values.next().is_some() {
        return Err(bad_header("must be sent once"));
    }
    let text = value.to_str().ok();
    let text = text.filter(|it| (1..=MAX_LENGTH).contains(&it.len()));
    text.map(|text| Some(AccountRef::parse(text)))
        .ok_or_else(|| bad_header("must be the id or the slug of an account"))
}

fn bad_header(message: &'static str) -> Problem {
    Problem::new(Code::BadRequest).field("X-Account", "invalid", message)
}

/// The same URL with the slug of today.
fn redirect(uri: &Uri, slug: &Slug) -> MiddlewareResult {
    let path = uri.path().split('/').enumerate().map(|(at, segment)| {
        // `/api/v1/organisations/{id}/…`
        if at == 4 { slug.as_str() } else { segment }
    });
    let path = path.collect::<Vec<_>>().join("/");
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let location = HeaderValue::try_from(path + &query).map_err(Problem::internal)?;
    Ok((StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response() as Response)
}

/// Rejects callers without the permission that the policy asks for, and those who are no member of the account.
pub async fn require_permission<F: Future<Output = MiddlewareResult>>(
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    if request.extensions().get::<NoMember>().is_some() {
        return Err(Code::NotFound.into());
    }
    if let Some(permissions) = policy.permission {
        let permissions = permissions.of(request.method());
        Caller::of(&request)?.permissions().require(permissions)?;
    }
    next(request).await
}
