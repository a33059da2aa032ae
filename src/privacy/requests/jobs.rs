//! Deletes closed requests in time.

use chrono::{DateTime, Utc};
use job_queue::{Expired, JobError, Purges};

use super::store;
use crate::scope;
use crate::state::AppState;

job_queue::jobs! {
    /// Deletes requests that were closed `DATA_REQUEST_RETENTION` ago.
    PurgeRequests "privacy.purge_requests" => purge;
}

/// Requests past their retention.
pub(in crate::privacy) fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 1] {
    let before = clock::before(state.clock.now(), state.privacy.request_retention);
    [(store::EXPIRED, before)]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
