//! Purge of totals that are past their retention.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::store;
use crate::infra::Month;
use crate::jobs::{self, JobError};
use crate::state::AppState;

/// Deletes old totals in batches.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeEventTotals {}

impl TaskHandler for PurgeEventTotals {
    const IDENTIFIER: &'static str = "events.purge_totals";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        jobs::report(&ctx, purge(&ctx).await)
    }
}

async fn purge(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = jobs::extension(ctx)?;
    let before = state.usage.events_retention.before(state.clock.now());
    while store::purge_totals(&state.db, Month::of(before)).await? > 0 {}
    Ok(())
}
