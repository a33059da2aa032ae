//! What the log and the metrics tell of a job that ran. Never its payload: that may be somebody's
//! address.

use std::fmt::Display;

use graphile_worker::WorkerContext;

use crate::metrics::{self, JobOutcome};

/// Counts a try and logs a failure, without the payload, and passes it on to the queue, which tries
/// again.
pub fn report<E: Display>(ctx: &WorkerContext, result: Result<(), E>) -> Result<(), E> {
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
    result
}
