//! Purge of totals that are past their retention.

use clock::Month;
use job_queue::JobError;

use super::store;
use crate::state::AppState;

job_queue::jobs! {
    /// Deletes old totals in batches.
    PurgeEventTotals "events.purge_totals" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let before = state.usage.events_retention.before(state.clock.now());
    while store::delete_totals(&state.db, Month::of(before)).await? > 0 {}
    Ok(())
}
