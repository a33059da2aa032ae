//! Purge of expired idempotency keys.

use chrono::{DateTime, Utc};
use job_queue::{Expired, Purges};

use super::store;
use crate::mail::JobError;
use crate::scope;
use crate::state::AppState;

job_queue::jobs! {
    /// Runs daily.
    PurgeKeys "idempotency.purge" => purge;
}

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 1] {
    [(store::EXPIRED, state.clock.now())]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
