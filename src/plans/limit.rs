//! Rate limit of signed-in callers: by account, as its plan allows.

use axum::extract::Request;
use http_toolkit::{MiddlewareResult, limited};
use rate_limit::{Key, Limit, LimitCheck};

use super::model::Plan;
use super::service;
use crate::config::PlansConfig;
use crate::ctx::Caller;
use crate::state::AppState;

impl Plan {
    pub(super) const fn limit(self, config: &PlansConfig) -> Limit {
        Limit::per_minute(self.as_str(), self.tier(config).rate).deferred()
    }
}

/// Lets a request pass that its account's plan has room for, however it was signed in.
pub async fn limit_by_plan<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let plan = service::plan_of(state, caller.account_id()).await?;
    let limit = plan.limit(&state.plans);
    let check = LimitCheck::spend(limit, Key::user(caller.account_id().0));
    limited(&state.limiter, &[check], || next(request)).await
}
