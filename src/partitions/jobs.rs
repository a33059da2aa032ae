//! Maintenance of partitions by month.

use std::time::Duration;

use chrono::NaiveDate;
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::model::{PartitionedTables, Table};
use super::store;
use crate::infra::db;
use crate::jobs;
use crate::state::AppState;

/// Months for which partitions are created ahead of time; later rows go to the default partition.
const MONTHS_AHEAD: i32 = 3;

/// Attempts to get the locks in one run of the job, with linear backoff.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_BACKOFF: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] jobs::MissingExtension),
    #[error("the partitions of {0} cannot be maintained: {1}")]
    Database(&'static str, #[source] sqlx::Error),
}

/// Attaches partitions for the coming months and drops those past their retention.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct MaintainPartitions {}

impl TaskHandler for MaintainPartitions {
    const IDENTIFIER: &'static str = "partitions.maintain";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        jobs::report(&ctx, maintain(&ctx).await)
    }
}

/// Maintains every table, also after a failure, and returns the first failure.
async fn maintain(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = jobs::extension(ctx)?;
    let PartitionedTables(tables) = jobs::extension(ctx)?;
    let mut result = Ok(());
    for table in tables {
        let maintained = maintain_table(state, table).await;
        result = result.and(maintained.map_err(|error| JobError::Database(table.name, error)));
    }
    result
}

async fn maintain_table(state: &AppState, table: &Table) -> Result<(), sqlx::Error> {
    // First, so that rows of old months are dropped and not moved.
    if let Some(retention) = table.retention {
        let before = retention.before(state.clock.now());
        let dropped = store::drop_before(&state.db, table.name, before).await?;
        if dropped > 0 {
            tracing::info!(table = table.name, dropped, "dropped old partitions");
        }
    }
    for month in store::list_missing(&state.db, table.name, MONTHS_AHEAD).await? {
        let moved = attach(state, table.name, month).await?;
        tracing::info!(table = table.name, %month, moved, "attached a partition");
    }
    Ok(())
}

/// Attaches a month. The lock timeout is one second, since other statements queue behind a waiting lock; they
/// run between attempts.
async fn attach(state: &AppState, table: &str, month: NaiveDate) -> Result<i64, sqlx::Error> {
    let mut attempt = 1;
    loop {
        let attached = store::attach(&state.db, table, month).await;
        match attached {
            Err(error) if attempt < LOCK_ATTEMPTS && db::is_lock_timeout(&error) => {
                tracing::warn!(table, %month, attempt, "cannot attach a partition, trying again");
            }
            done => return done,
        }
        sleep(LOCK_BACKOFF * attempt).await;
        attempt += 1;
    }
}
