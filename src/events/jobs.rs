//! Purge of totals that are past their retention.

use clock::Month;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use job_queue::JobError;
use serde::{Deserialize, Serialize};

use super::store;
use crate::state::AppState;

/// Deletes old totals in batches.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeEventTotals {}

impl TaskHandler for PurgeEventTotals {
    const IDENTIFIER: &'static str = "events.purge_totals";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        job_queue::report(&ctx, purge(&ctx).await)
    }
}

async fn purge(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = job_queue::extension(ctx)?;
    let before = state.usage.events_retention.before(state.clock.now());
    while store::delete_totals(&state.db, Month::of(before)).await? > 0 {}
    Ok(())
}
