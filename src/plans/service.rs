//! Lookup of an account's plan, cached, and the rate limit of the plan.

use std::time::Duration;

use axum::extract::Request;

use super::model::{Entitlement, Plan};
use super::store;
use crate::config::{Limit, PlansConfig};
use crate::ctx::Caller;
use crate::ids::UserId;
use crate::infra::{CacheFamily, LimitCheck, LimitKey, LoadError};
use crate::state::AppState;
use crate::web::{MiddlewareResult, limited};

/// What accounts pay for. The TTL bounds the age of changes that invalidate nothing, as a row changed by hand.
static ENTITLEMENTS: CacheFamily<UserId, Entitlement> =
    CacheFamily::shared("plan", 1, Duration::from_secs(30), 50_000);

pub async fn plan_of(state: &AppState, user_id: UserId) -> Result<Plan, LoadError> {
    let entitlement = state.cache.get(&ENTITLEMENTS, &user_id, || {
        let (db, grace) = (state.db.clone(), state.plans.past_due_grace);
        async move {
            let subscription = store::find_live(&db, user_id).await?;
            Ok::<_, sqlx::Error>(Entitlement::of(subscription, grace))
        }
    });
    // The cached value includes the end of the entitlement, so that a plan ends in time.
    Ok(entitlement.await?.plan(state.clock.now()))
}

/// Must be called after the commit of a change to an account's subscription: the new plan then applies in
/// this process at once and on all replicas within a second.
pub async fn changed(state: &AppState, user_id: UserId) {
    state.cache.invalidate(&ENTITLEMENTS, &user_id).await;
}

impl Plan {
    pub(super) const fn limit(self, config: &PlansConfig) -> Limit {
        Limit::per_minute(self.as_str(), self.tier(config).rate)
    }
}

/// Lets a request pass that its account's plan has room for, however it was signed in.
pub async fn limit_by_plan<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let caller = Caller::of(&request)?;
    let plan = plan_of(state, caller.user_id).await?;
    let limit = plan.limit(&state.plans);
    let check = LimitCheck::spend(limit, LimitKey::user(caller.user_id.0));
    limited(&state.limiter, &[check], || next(request)).await
}
