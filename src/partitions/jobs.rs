//! Maintenance of partitions by month.

use database::partitions::{self, Retention};
use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};

use crate::state::AppState;

/// Table partitioned by month. The database functions that maintain partitions have a list of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// `None` keeps rows for ever.
    pub retention: Option<Retention>,
}

/// All partitioned tables, an extension of the worker.
#[derive(Clone, Debug)]
pub struct PartitionedTables(pub Vec<Table>);

#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error("the partitions of {0} cannot be maintained: {1}")]
    Database(&'static str, #[source] sqlx::Error),
}

job_queue::without_payload! {
    /// Attaches partitions for the coming months and drops those past their retention.
    pub struct MaintainPartitions;
}

impl TaskHandler for MaintainPartitions {
    const IDENTIFIER: &'static str = "partitions.maintain";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        job_queue::report(&ctx, maintain(&ctx).await)
    }
}

/// Maintains every table, also after a failure, and returns the first failure.
async fn maintain(ctx: &WorkerContext) -> Result<(), JobError> {
    let state: &AppState = job_queue::extension(ctx)?;
    let PartitionedTables(tables) = job_queue::extension(ctx)?;
    let now = state.clock.now();
    let mut result = Ok(());
    for table in tables {
        let drop_before = table.retention.map(|retention| retention.before(now));
        let maintained = partitions::maintain(&state.db, table.name, drop_before).await;
        result = result.and(maintained.map_err(|error| JobError::Database(table.name, error)));
    }
    result
}
