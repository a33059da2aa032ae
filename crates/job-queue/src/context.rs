//! Helpers over the worker context of a running job: extensions, and reports of outcomes. Neither logs nor
//! metrics have the payload, since it may be an address.

use std::fmt::{self, Display};

use graphile_worker::WorkerContext;

use crate::metrics::{self, Outcome};
use crate::store;

/// The worker was started without an extension that the job needs.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the worker was started without an extension that this job needs")]
pub struct MissingExtension;

/// Error of a job that only uses the database.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// An extension of the worker: the state, or settings of its jobs.
pub fn extension<T: Send + Sync + 'static>(ctx: &WorkerContext) -> Result<&T, MissingExtension> {
    ctx.get_ext::<T>().ok_or(MissingExtension)
}

/// Error of a job, as the queue stores it: by its `Debug`.
pub struct Failure(String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts an attempt and logs a failure, which the queue retries.
pub fn report<E: Display>(ctx: &WorkerContext, result: Result<(), E>) -> Result<(), Failure> {
    let job = ctx.job();
    let (id, task, attempt) = (job.id(), job.task_identifier(), job.attempts());
    let outcome = match &result {
        Ok(()) => Outcome::Done,
        Err(error) if attempt >= job.max_attempts() => {
            tracing::error!(job = task, id, attempt, %error, "a job failed for the last time");
            Outcome::Dead
        }
        Err(error) => {
            tracing::warn!(job = task, id, attempt, %error, "a job failed and is tried again");
            Outcome::Retried
        }
    };
    metrics::count_attempt(task, outcome);
    result.map_err(|error| Failure(error.to_string()))
}

/// As [`report`], for a job that can fail permanently: it is then not retried and stays in the queue as a
/// dead job with its error.
pub async fn report_final<E: Display>(
    ctx: &WorkerContext,
    result: Result<(), E>,
    is_permanent: impl Fn(&E) -> bool,
) -> Result<(), Failure> {
    let permanent = result.as_ref().err().filter(|error| is_permanent(error));
    let Some(error) = permanent else {
        return report(ctx, result);
    };
    let job = ctx.job();
    let (id, task, attempt) = (job.id(), job.task_identifier(), job.attempts());
    if let Err(cause) = store::stop_retrying(ctx.pg_pool(), *id).await {
        tracing::warn!(job = task, id, %cause, "a job that failed for good will be tried again");
        return report(ctx, result);
    }
    tracing::error!(job = task, id, attempt, %error, "a job failed for good and is not tried again");
    metrics::count_attempt(task, Outcome::Dead);
    result.map_err(|error| Failure(error.to_string()))
}
