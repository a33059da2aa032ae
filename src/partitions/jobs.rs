//! Makes partitions ahead of time, and drops those that have been kept for long enough.

use std::time::Duration;

use chrono::NaiveDate;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::model::{Monthly, Table};
use super::store;
use crate::infra::db;
use crate::jobs;
use crate::state::AppState;

/// Months ahead that have a partition; rows beyond go to the default one.
const MONTHS_AHEAD: i32 = 3;

/// How often locks are tried for in one run of the job, and the wait between, times the attempt.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_RETRY: Duration = Duration::from_millis(500);

/// Why the job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
    #[error("the partitions of {0} cannot be seen to: {1}")]
    Database(&'static str, #[source] sqlx::Error),
}

/// Runs daily; does nothing most days.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct MaintainPartitions {}

impl TaskHandler for MaintainPartitions {
    const IDENTIFIER: &'static str = "partitions.maintain";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        jobs::report(&ctx, maintain(&ctx).await)
    }
}

/// Sees to every table, whatever becomes of the others; answers the first failure.
async fn maintain(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = jobs::extension(ctx)?;
    let Monthly(tables) = jobs::extension(ctx)?;
    let mut result = Ok(());
    for table in tables {
        let seen_to = see_to(state, table).await;
        result = result.and(seen_to.map_err(|error| JobError::Database(table.name, error)));
    }
    result
}

async fn see_to(state: &AppState, table: &Table) -> Result<(), sqlx::Error> {
    // First, so that rows of old months are deleted and not moved.
    if let Some(retention) = table.retention {
        let before = retention.before(state.clock.now());
        let dropped = store::drop_before(&state.db, table.name, before).await?;
        if dropped > 0 {
            tracing::info!(table = table.name, dropped, "old months are dropped");
        }
    }
    for month in store::list_missing(&state.db, table.name, MONTHS_AHEAD).await? {
        let moved = attach(state, table.name, month).await?;
        tracing::info!(table = table.name, %month, moved, "a partition is attached");
    }
    Ok(())
}

/// Attaches a month. Its locks are tried for a second at a time, since statements queue up behind
/// them; in between those run.
async fn attach(state: &AppState, table: &str, month: NaiveDate) -> Result<i64, sqlx::Error> {
    let mut attempt = 1;
    loop {
        let attached = store::attach(&state.db, table, month).await;
        match attached {
            Err(error) if attempt < LOCK_ATTEMPTS && db::is_lock_timeout(&error) => {
                tracing::warn!(table, %month, attempt, "a partition cannot be attached yet");
            }
            done => return done,
        }
        sleep(LOCK_RETRY * attempt).await;
        attempt += 1;
    }
}
