//! Purge of totals, and backfill of rollups.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use clock::Month;
use job_queue::JobError;
use tokio::time::sleep;

use super::store;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

/// How long the last batch number of a process is kept, against which a repeated batch is recognised.
const WRITERS_KEPT: TimeDelta = TimeDelta::days(7);

job_queue::jobs! {
    /// Deletes old totals and writers.
    PurgeUsage "usage.purge" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let now = state.clock.now();
    let months_before = Month::of(state.usage.retention.before(now)).first_day();
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    store::purge(&mut *tx, months_before, now - WRITERS_KEPT).await?;
    tx.commit().await?;
    Ok(())
}

/// Time limit of one run; the next one continues.
const BACKFILL_TIMEOUT: Duration = Duration::from_mins(5);

/// Pause between batches, in which metering can write.
const BACKFILL_PAUSE: Duration = Duration::from_millis(50);

job_queue::jobs! {
    /// Adds usage from before the rollups to them, in batches. Does nothing once all rows are added.
    BackfillRollups "usage.backfill_rollups" => backfill;
}

async fn backfill(state: &AppState) -> Result<(), JobError> {
    let began = Instant::now();
    let mut batches = 0_u64;
    while store::backfill(&state.db).await? {
        batches += 1;
        if began.elapsed() > BACKFILL_TIMEOUT {
            break;
        }
        sleep(BACKFILL_PAUSE).await;
    }
    if batches > 0 {
        tracing::info!(batches, "added earlier usage to the rollups");
    }
    Ok(())
}
