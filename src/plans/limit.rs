//! What whoever is signed in may ask a minute: by account and plan, instead of by address.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::model::Plan;
use super::service;
use crate::config::{Limit, PlansConfig};
use crate::infra::{Ask, LimitKey};
use crate::state::AppState;
use crate::web::{Caller, Problem, limited};

impl Plan {
    /// What an account on this plan may ask.
    pub(super) const fn limit(self, config: &PlansConfig) -> Limit {
        Limit::per_minute(self.as_str(), self.tier(config).rate)
    }
}

/// Lets a request pass that its account's plan has room for, however it was signed in.
pub async fn limit_by_plan(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let plan = service::plan_of(&state, caller.user_id).await?;
    let limit = plan.limit(&state.plans);
    let ask = Ask::spend(limit, LimitKey::user(caller.user_id.0));
    Ok(limited(&state.limiter, &[ask], request, next).await)
}
