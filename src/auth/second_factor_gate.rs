//! The door that signed-in routes stand behind where everybody must have a second factor.
//!
//! Whether somebody has one is not in the access token, which says how things were when it was made:
//! the account is asked for, and that it has one is kept in the process for a while. That it has
//! none is never believed for longer than a request, so that nobody is sent back who has just turned
//! one on, whichever replica is asked.

use std::time::Duration;

use axum::extract::Request;

use crate::config::MfaRequired;
use crate::ctx::{Caller, Credential};
use crate::ids::UserId;
use crate::infra::CacheFamily;
use crate::mfa;
use crate::policy::Policy;
use crate::state::AppState;
use crate::web::{Code, MiddlewareResult, Problem};

/// Who has one. The time bounds what nobody told of, as a row changed by hand.
static SECOND_FACTORS: CacheFamily<UserId, bool> =
    CacheFamily::in_process("second_factor", Duration::from_secs(10), 50_000);

/// Lets a request pass of somebody who has a second factor, or who is about to turn one on. An API
/// key passes: it is no sign-in, and where this door stands nobody without one makes a key.
pub async fn require_second_factor<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    policy: &Policy,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let is_wanted = state.mfa.required == MfaRequired::All
        && matches!(caller.credential, Credential::Session(_))
        && !policy.is_exempt_from_second_factor;
    if is_wanted && !has_one(state, caller.user_id).await? {
        return Err(
            Problem::new(Code::MfaRequired).detail("turn a second factor on before anything else")
        );
    }
    next(request).await
}

async fn has_one(state: &AppState, user_id: UserId) -> Result<bool, Problem> {
    let read = || {
        let db = state.db.clone();
        async move { mfa::has_second_factor(&db, user_id).await }
    };
    let known = state.cache.get(&SECOND_FACTORS, &user_id, read).await?;
    Ok(*known || read().await?)
}

/// To be called when an account's second factor was turned off, once that is committed: it is known
/// here at once and on all replicas within a second.
pub(super) async fn forget(state: &AppState, user_id: UserId) {
    state.cache.invalidate(&SECOND_FACTORS, &user_id).await;
}
