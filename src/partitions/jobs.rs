//! Makes partitions ahead of time, and drops those that have been kept for long enough.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};

use super::model::{Monthly, Table};
use super::store;
use crate::jobs;
use crate::state::AppState;

/// Months ahead that have a partition; rows beyond go to the default one.
const MONTHS_AHEAD: i32 = 3;

/// Why the job failed; the queue keeps the text and tries again.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    NotGiven(#[from] jobs::NotGiven),
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
    let state: &AppState = jobs::given(ctx)?;
    let Monthly(tables) = jobs::given(ctx)?;
    let mut result = Ok(());
    for table in tables {
        let seen_to = see_to(state, table).await;
        result = result.and(seen_to.map_err(|error| JobError::Database(table.name, error)));
    }
    result
}

async fn see_to(state: &AppState, table: &Table) -> Result<(), sqlx::Error> {
    store::create(&state.db, table.name, MONTHS_AHEAD).await?;
    if let Some(retention) = table.retention {
        let before = retention.before(state.clock.now());
        let dropped = store::drop_before(&state.db, table.name, before).await?;
        if dropped > 0 {
            tracing::info!(table = table.name, dropped, "old months are dropped");
        }
    }
    Ok(())
}
