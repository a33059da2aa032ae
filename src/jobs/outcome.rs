//! What the log and the metrics tell of a job that ran. Never its payload: that may be somebody's
//! address.

use std::fmt::{self, Display};

use graphile_worker::WorkerContext;

use super::store;
use crate::metrics::{self, JobOutcome};

/// Why a job failed, as the queue keeps it: it stores what `Debug` prints.
pub struct Failure(String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts a try and logs a failure, without the payload, and passes it on to the queue, which tries
/// again.
pub fn report<E: Display>(ctx: &WorkerContext, result: Result<(), E>) -> Result<(), Failure> {
    let job = ctx.job();
    let (id, task, attempt) = (job.id(), job.task_identifier(), job.attempts());
    let outcome = match &result {
        Ok(()) => JobOutcome::Done,
        Err(error) if attempt >= job.max_attempts() => {
            tracing::error!(job = task, id, attempt, %error, "a job failed for the last time");
            JobOutcome::Dead
        }
        Err(error) => {
            tracing::warn!(job = task, id, attempt, %error, "a job failed and is tried again");
            JobOutcome::Retried
        }
    };
    metrics::count_job(task, outcome);
    result.map_err(|error| Failure(error.to_string()))
}

/// As [`report`], for a job that may fail for good: it is then not tried again, and stays in the queue
/// with its last error like one whose tries are used up.
pub async fn report_final<E: Display>(
    ctx: &WorkerContext,
    result: Result<(), E>,
    is_permanent: impl Fn(&E) -> bool,
) -> Result<(), Failure> {
    let Err(error) = &result else {
        return report(ctx, result);
    };
    if !is_permanent(error) {
        return report(ctx, result);
    }
    let job = ctx.job();
    let (id, task, attempt) = (job.id(), job.task_identifier(), job.attempts());
    if let Err(cause) = store::stop_retrying(ctx.pg_pool(), *id).await {
        tracing::warn!(job = task, id, %cause, "a job that failed for good will be tried again");
        return report(ctx, result);
    }
    tracing::error!(job = task, id, attempt, %error, "a job failed for good and is not tried again");
    metrics::count_job(task, JobOutcome::Dead);
    result.map_err(|error| Failure(error.to_string()))
}
