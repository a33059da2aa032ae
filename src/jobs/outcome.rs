//! What the log tells of a job that failed. Never its payload: that may be somebody's address.

use std::fmt::Display;

use graphile_worker::WorkerContext;

/// Logs a failure, without the payload, and passes it on to the queue, which tries again.
pub fn report<E: Display>(ctx: &WorkerContext, result: Result<(), E>) -> Result<(), E> {
    if let Err(error) = &result {
        let job = ctx.job();
        let (id, task, attempt) = (job.id(), job.task_identifier(), job.attempts());
        if attempt >= job.max_attempts() {
            tracing::error!(job = task, id, attempt, %error, "a job failed for the last time");
        } else {
            tracing::warn!(job = task, id, attempt, %error, "a job failed and is tried again");
        }
    }
    result
}
