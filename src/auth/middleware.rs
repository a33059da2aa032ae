//! Authorization middleware: second factor and administrator role.

use std::time::Duration;

use axum::extract::Request;
use cache::CacheFamily;
use http_toolkit::{MiddlewareResult, Problem};

use super::store;
use crate::config::MfaRequired;
use crate::consents;
use crate::ctx::{Caller, Credential};
use crate::ids::UserId;
use crate::mfa;
use crate::policy::{Access, Policy};
use crate::state::AppState;
use crate::users::{self, Role};
use crate::web::Code;

/// Expires because a row changed by hand invalidates nothing.
static SECOND_FACTORS: CacheFamily<UserId, bool> =
    CacheFamily::in_process("second_factor", Duration::from_secs(10), 50_000);

static SYNTHETIC: CacheFamily<UserId, bool> =
    CacheFamily::in_process("synthetic_account", Duration::from_mins(10), 50_000);

/// Rejects users without a second factor where `MFA_REQUIRED` asks for one. API keys pass: only a user with a
/// second factor can create one.
pub async fn require_second_factor<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let is_required = state.mfa.required == MfaRequired::All
        && matches!(caller.credential, Credential::Session(_))
        && !policy.is_exempt_from_second_factor;
    if is_required && !has_second_factor(state, caller.user_id).await? {
        return Err(Problem::new(Code::MfaRequired).detail("turn on a second factor first"));
    }
    next(request).await
}

/// Only `true` is cached: a user who has just turned the factor on is accepted by every replica at once.
async fn has_second_factor(state: &AppState, user_id: UserId) -> Result<bool, Problem> {
    let read = || {
        let db = state.db.clone();
        async move { mfa::has_second_factor(&db, user_id).await }
    };
    let cached = state.cache.get(&SECOND_FACTORS, &user_id, read).await?;
    Ok(*cached || read().await?)
}

/// Call it once the transaction that turned a second factor off has committed. Other replicas follow within a
/// second.
pub(super) async fn invalidate_second_factor(state: &AppState, user_id: UserId) {
    state.cache.invalidate(&SECOND_FACTORS, &user_id).await;
}

/// Rejects sessions that began with documents to accept, until the user has accepted them.
pub async fn require_acceptance<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    if caller.must_accept()
        && !policy.is_exempt_from_acceptance
        && !consents::has_accepted(state, caller.user_id).await?
    {
        return Err(Code::AcceptanceRequired.into());
    }
    next(request).await
}

/// Rejects changes by the synthetic account, which smoke checks of releases sign in as. Both results are cached, since the
/// address of an account does not become or cease to be a synthetic one.
pub async fn reject_synthetic_changes<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    if request.method().is_safe() {
        return next(request).await;
    }
    let user_id = Caller::of(&request)?.user_id;
    let read = || {
        let db = state.db.clone();
        async move { users::is_synthetic(&db, user_id).await }
    };
    if *state.cache.get(&SYNTHETIC, &user_id, read).await? {
        return Err(Problem::new(Code::Forbidden).detail("the synthetic account can only read"));
    }
    next(request).await
}

/// Rejects everybody but administrators where the policy asks for them. The role is read on each request, never
/// from a token, so that its loss takes effect at once.
pub async fn require_admin<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    if policy.access != Access::Admin {
        return next(request).await;
    }
    let caller = Caller::of(&request)?;
    if caller.credential.session_id().is_none() {
        return Err(Code::SessionRequired.into());
    }
    let account = store::find_account_status(&state.db, caller.user_id).await?;
    let account = account
        .filter(|it| it.role == Role::Admin && !it.is_disabled)
        .ok_or(Code::Forbidden)?;
    if state.mfa.required != MfaRequired::None && !account.has_second_factor {
        return Err(Problem::new(Code::MfaRequired)
            .detail("administrators must turn on a second factor first"));
    }
    next(request).await
}
