//! Purge of totals, backfill of rollups, and compaction of old counts.

use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
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
const RUN_TIMEOUT: Duration = Duration::from_mins(5);

/// Pause between batches, in which metering can write.
const PAUSE: Duration = Duration::from_millis(50);

job_queue::jobs! {
    /// Adds usage from before the rollups to them, in batches. Does nothing once all rows are added.
    BackfillRollups "usage.backfill_rollups" => backfill;
}

async fn backfill(state: &AppState) -> Result<(), JobError> {
    let began = Instant::now();
    let mut batches = 0_u64;
    while store::backfill(&state.db).await? {
        batches += 1;
        if began.elapsed() > RUN_TIMEOUT {
            break;
        }
        sleep(PAUSE).await;
    }
    if batches > 0 {
        tracing::info!(batches, "added earlier usage to the rollups");
    }
    Ok(())
}

job_queue::jobs! {
    /// Adds up counts by the minute that are older than `USAGE_MINUTES_RETENTION`, by the hour.
    CompactUsage "usage.compact" => compact;
}

async fn compact(state: &AppState) -> Result<(), JobError> {
    let began = Instant::now();
    let before = first_minute(state);
    let (mut minutes, mut hours) = (0, 0);
    loop {
        let batch = store::compact(&state.db, before).await?;
        minutes += batch.minutes;
        hours += batch.hours;
        if batch.is_last {
            break;
        }
        if began.elapsed() > RUN_TIMEOUT {
            job_queue::enqueue(&state.db, &CompactUsage::default(), None).await?;
            break;
        }
        sleep(PAUSE).await;
    }
    if minutes > 0 {
        tracing::info!(minutes, hours, "added up old usage by the hour");
    }
    Ok(())
}

/// Time from which counts are kept by the minute; the start of an hour.
pub(super) fn first_minute(state: &AppState) -> DateTime<Utc> {
    let before = state.clock.now() - state.usage.minutes_retention;
    before.duration_trunc(TimeDelta::hours(1)).unwrap_or(before)
}
