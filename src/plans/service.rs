//! Which plan an account has now: the one place that says so.

use std::time::Duration;

use super::model::{Plan, Standing};
use super::store;
use crate::ids::UserId;
use crate::infra::{CacheFamily, LoadError};
use crate::state::AppState;

/// What accounts pay for. The time bounds what nobody told of, as a row changed by hand.
static STANDINGS: CacheFamily<UserId, Standing> =
    CacheFamily::shared("plan", 1, Duration::from_secs(30), 50_000);

/// The plan that this account has now; warm, without asking anybody.
pub async fn plan_of(state: &AppState, user_id: UserId) -> Result<Plan, LoadError> {
    let standing = state.cache.get(&STANDINGS, &user_id, || {
        let (db, grace) = (state.db.clone(), state.plans.past_due_grace);
        async move {
            let subscription = store::find_living(&db, user_id).await?;
            Ok::<_, sqlx::Error>(Standing::of(subscription, grace))
        }
    });
    // What is kept is until when the plan is good, so that it ends in time.
    Ok(standing.await?.plan(state.clock.now()))
}

/// To be called when an account's subscription has changed, once that is committed: the new plan is
/// in force here at once and on all replicas within a second.
pub async fn changed(state: &AppState, user_id: UserId) {
    state.cache.invalidate(&STANDINGS, &user_id).await;
}
