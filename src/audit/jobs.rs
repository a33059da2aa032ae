//! Removing client addresses and user agents from old entries.

use job_queue::JobError;

use super::store;
use crate::state::AppState;

/// Entries of one transaction.
const BATCH: i32 = 5_000;

job_queue::jobs! {
    /// Removes addresses in batches. Runs daily, and continues where the last run stopped.
    RemoveAddresses "audit.remove_addresses" => remove;
}

async fn remove(state: &AppState) -> Result<(), JobError> {
    let before = clock::before(state.clock.now(), state.audit.address_retention);
    let mut entries = 0;
    while let Some(changed) = store::remove_addresses(&state.db, before, BATCH).await? {
        entries += changed;
    }
    if entries > 0 {
        tracing::info!(entries, "removed addresses from old audit entries");
    }
    Ok(())
}
