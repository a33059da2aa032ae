//! Purge of totals that are past their retention.

use clock::Month;
use job_queue::JobError;

use super::store;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

job_queue::jobs! {
    /// Deletes old totals in batches.
    PurgeEventTotals "events.purge_totals" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let before = state.usage.events_retention.before(state.clock.now());
    loop {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let deleted = store::delete_totals(&mut *tx, Month::of(before)).await?;
        tx.commit().await?;
        if deleted == 0 {
            return Ok(());
        }
    }
}
