//! Organisations that have more members than their plan includes. Nobody is removed: no more can join, and the owners
//! are notified once.

use job_queue::JobError;

use super::error::Error;
use super::jobs::{MemberEvent, notify_owners};
use super::store;
use super::store::members;
use crate::ctx::Ctx;
use crate::ids::AccountId;
use crate::plans::{self, Plan};
use crate::scope::{Exception, Scope};
use crate::state::AppState;

/// Compares the members of one organisation with its plan; to be called after a change of the plan.
pub async fn check(state: &AppState, account_id: AccountId) -> Result<(), Error> {
    let plan = plans::plan_of(state, account_id).await?;
    let seats = plan.tier(&state.plans).seats;
    let ctx = Ctx::system(state);
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    if !store::lock_account(&mut *tx, account_id).await? {
        return Ok(());
    }
    let count = members::count(&mut *tx, account_id).await?;
    let is_exceeded = seats.is_some_and(|seats| count > seats.into());
    if store::set_seats_exceeded(&mut *tx, account_id, is_exceeded, ctx.now()).await? && is_exceeded
    {
        let owners = members::list_owners(&mut *tx, account_id).await?;
        if let Some(first) = owners.first() {
            notify_owners(&mut tx, account_id, MemberEvent::SeatsExceeded, *first).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

job_queue::jobs! {
    /// Runs daily.
    CheckSeats "organisations.check_seats" => check_all;
}

/// Checks every organisation with more members than the smallest plan includes, and those that had too many.
async fn check_all(state: &AppState) -> Result<(), JobError> {
    let seats = Plan::ALL.map(|plan| plan.tier(&state.plans).seats);
    let Some(least) = seats.into_iter().flatten().min() else {
        return Ok(());
    };
    let ctx = Ctx::system(state);
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    let candidates = members::list_crowded(&mut *tx, least.into()).await?;
    tx.commit().await?;
    for account_id in candidates {
        if let Err(error) = check(state, account_id).await {
            tracing::warn!(%error, account_id = %account_id, "seats of an organisation cannot be checked");
        }
    }
    Ok(())
}
