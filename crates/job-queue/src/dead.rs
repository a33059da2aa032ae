//! Purge of dead jobs, which failed at their last attempt. They are kept for a while, so that they can be
//! inspected and rescheduled.

use std::time::Duration;

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};

use crate::{JobError, extension, report, store};

const BATCH: i64 = 1_000;

/// How long dead jobs are kept, an extension of the worker.
#[derive(Clone, Copy, Debug)]
pub struct DeadJobsRetention(pub Duration);

crate::without_payload! {
    /// Deletes old dead jobs in batches, and logs how many of each task.
    pub struct PurgeDeadJobs;
}

impl TaskHandler for PurgeDeadJobs {
    const IDENTIFIER: &'static str = "jobs.purge_dead";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        report(&ctx, purge(&ctx).await)
    }
}

async fn purge(ctx: &WorkerContext) -> Result<(), JobError> {
    let DeadJobsRetention(kept) = *extension(ctx)?;
    loop {
        let deleted = store::delete_dead(ctx.pg_pool(), kept, BATCH).await?;
        for (task, jobs) in &deleted {
            tracing::warn!(task, jobs, "deleted old dead jobs");
        }
        if deleted.is_empty() {
            return Ok(());
        }
    }
}
