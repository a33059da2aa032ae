//! The door that administrative routes stand behind, within that of signed-in people.

use axum::extract::Request;

use super::store;
use crate::config::MfaRequired;
use crate::ctx::Caller;
use crate::state::AppState;
use crate::users::Role;
use crate::web::{Code, MiddlewareResult, Problem};

/// Lets a request of an administrator pass. What an account may do is asked each time and never
/// taken from a token, so that who has lost the role has lost it at once.
pub async fn require_admin<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    if caller.credential.session_id().is_none() {
        return Err(Code::SessionRequired.into());
    }
    let standing = store::find_standing(&state.db, caller.user_id).await?;
    let standing = standing
        .filter(|it| it.role == Role::Admin && !it.is_disabled)
        .ok_or(Code::Forbidden)?;
    if state.mfa.required != MfaRequired::None && !standing.has_second_factor {
        return Err(Problem::new(Code::MfaRequired)
            .detail("administrators turn a second factor on before anything else"));
    }
    next(request).await
}
