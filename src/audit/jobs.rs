//! Removing client addresses and user agents from old entries.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use job_queue::JobError;
use serde::{Deserialize, Serialize};

use super::store;
use crate::state::AppState;

/// Entries of one transaction.
const BATCH: i32 = 5_000;

/// Removes addresses in batches. Runs daily, and continues where the last run stopped.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RemoveAddresses {}

impl TaskHandler for RemoveAddresses {
    const IDENTIFIER: &'static str = "audit.remove_addresses";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        job_queue::report(&ctx, remove(&ctx).await)
    }
}

async fn remove(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = job_queue::extension(ctx)?;
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
