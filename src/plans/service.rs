//! Lookup of an account's plan, cached.

use std::time::Duration;

use cache::{CacheFamily, LoadError};

use super::model::{Entitlement, Plan};
use super::store;
use crate::ids::AccountId;
use crate::state::AppState;

/// What accounts pay for. The TTL bounds the age of changes that invalidate nothing, as a row changed by hand.
static ENTITLEMENTS: CacheFamily<AccountId, Entitlement> =
    CacheFamily::shared("plan", 1, Duration::from_secs(30), 50_000);

pub async fn plan_of(state: &AppState, account_id: AccountId) -> Result<Plan, LoadError> {
    let entitlement = state.cache.get(&ENTITLEMENTS, &account_id, || {
        let (db, grace) = (state.db.clone(), state.plans.past_due_grace);
        async move {
            let subscription = store::find_live(&db, account_id).await?;
            Ok::<_, sqlx::Error>(Entitlement::of(subscription, grace))
        }
    });
    // The cached value includes the end of the entitlement, so that a plan ends in time.
    Ok(entitlement.await?.plan(state.clock.now()))
}

/// Must be called after the commit of a change to an account's subscription: the new plan then applies in
/// this process at once and on all replicas within a second.
pub async fn changed(state: &AppState, account_id: AccountId) {
    state.cache.invalidate(&ENTITLEMENTS, &account_id).await;
}
