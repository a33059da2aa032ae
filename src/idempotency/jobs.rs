//! Purge of expired idempotency keys.

use job_queue::Purges;

use super::store;
use crate::mail::JobError;
use crate::scope;
use crate::state::AppState;

job_queue::jobs! {
    /// Runs daily.
    PurgeKeys "idempotency.purge" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_expired(store::EXPIRED, state.clock.now()).await;
    Ok(purges.finish()?)
}
