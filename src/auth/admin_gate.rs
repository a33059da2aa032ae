//! The door that administrative routes stand behind, within that of signed-in people.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::store;
use crate::config::MfaRequired;
use crate::state::AppState;
use crate::users::Role;
use crate::web::{Code, Principal, Problem};

/// Lets a request of an administrator pass. What an account may do is asked each time and never
/// taken from a token, so that who has lost the role has lost it at once.
pub async fn require_admin(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let who = Principal::from_request_parts(&mut parts, &state).await?;
    let standing = store::find_standing(&state.db, who.user_id).await?;
    let standing = standing
        .filter(|it| it.role == Role::Admin && !it.is_disabled)
        .ok_or(Code::Forbidden)?;
    if state.mfa.required != MfaRequired::None && !standing.has_second_factor {
        return Err(Problem::new(Code::MfaRequired)
            .detail("administrators turn a second factor on before anything else"));
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}
