//! Purging totals, and summing up what was stored before the rollups existed.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::store;
use crate::jobs;
use crate::plans::Month;
use crate::state::AppState;

/// A process that wrote nothing for so long sends nothing again either.
const WRITERS_KEPT: TimeDelta = TimeDelta::days(7);

/// Why the job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Runs daily; does nothing most days.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PurgeUsage {}

impl TaskHandler for PurgeUsage {
    const IDENTIFIER: &'static str = "usage.purge";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        jobs::report(&ctx, purge(&ctx).await)
    }
}

async fn purge(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = jobs::extension(ctx)?;
    let now = state.clock.now();
    let months_before = Month::of(state.usage.retention.before(now)).first_day();
    store::purge(&state.db, months_before, now - WRITERS_KEPT).await?;
    Ok(())
}

/// How long one run of the backfill goes on; the next one continues.
const BACKFILL_WITHIN: Duration = Duration::from_mins(5);

/// The pause between two batches, in which metering writes.
const BACKFILL_PAUSE: Duration = Duration::from_millis(50);

/// Sums up the rows from before the rollups, in batches. Runs every ten minutes; does nothing once
/// all rows are summed up.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct BackfillRollups {}

impl TaskHandler for BackfillRollups {
    const IDENTIFIER: &'static str = "usage.backfill_rollups";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        jobs::report(&ctx, backfill(&ctx).await)
    }
}

async fn backfill(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = jobs::extension(ctx)?;
    let began = Instant::now();
    let mut batches = 0_u64;
    while store::backfill(&state.db).await? {
        batches += 1;
        if began.elapsed() > BACKFILL_WITHIN {
            break;
        }
        sleep(BACKFILL_PAUSE).await;
    }
    if batches > 0 {
        tracing::info!(batches, "usage from before the rollups is summed up");
    }
    Ok(())
}
