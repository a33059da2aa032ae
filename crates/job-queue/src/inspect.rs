//! The queue as a page for developers shows it: counts, failed jobs without their payloads, and a retry.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use crate::store;

/// Rows that are read for the counts.
const READ_MAX: i64 = 10_000;

/// Characters of an error that are returned.
const ERROR_MAX: i32 = 2_000;

/// Jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    /// Due and not begun.
    pub waiting: i64,
    /// Due later.
    pub scheduled: i64,
    /// Begun by a worker.
    pub running: i64,
    /// To be attempted again after a failure.
    pub failed: i64,
    /// Failed at their last attempt.
    pub dead: i64,
}

/// Counts the jobs of each state among 10,000 at most.
pub async fn count_jobs(conn: impl PgExecutor<'_>) -> Result<JobCounts, sqlx::Error> {
    let (waiting, scheduled, running, failed, dead) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE NOT is_running AND attempts = 0 AND run_at <= now()),
                count(*) FILTER (WHERE NOT is_running AND attempts = 0 AND run_at > now()),
                count(*) FILTER (WHERE is_running),
                count(*) FILTER (WHERE NOT is_running AND attempts > 0 AND attempts < max_attempts),
                count(*) FILTER (WHERE NOT is_running AND attempts > 0 AND attempts >= max_attempts)
         FROM (
             SELECT locked_at IS NOT NULL AS is_running, attempts, max_attempts, run_at
             FROM graphile_worker._private_jobs LIMIT $1
         ) AS jobs",
    )
    .bind(READ_MAX)
    .fetch_one(conn)
    .await?;
    Ok(JobCounts {
        waiting,
        scheduled,
        running,
        failed,
        dead,
    })
}

/// State of a job that has failed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedState {
    /// Begun again by a worker.
    Running,
    /// To be attempted again.
    Failed,
    /// Not attempted again.
    Dead,
}

/// A job that has failed, without its payload, which may have an address in it. The text of its last error may have one as
/// well: it is not for the public.
#[derive(Clone, Debug, Serialize)]
pub struct FailedJob {
    pub id: i64,
    /// Identifier of the job's type.
    pub task: String,
    pub state: FailedState,
    /// Attempts so far.
    pub attempts: i32,
    pub max_attempts: i32,
    /// Error of the last attempt, at most 2,000 characters.
    pub last_error: String,
    /// Time of the next attempt; `None` for a job that is running or dead.
    pub next_attempt: Option<DateTime<Utc>>,
}

type FailedRow = (i64, String, bool, i32, i32, String, DateTime<Utc>);

/// Lists at most `limit` jobs that have failed, by the time of the last failure, newest first.
pub async fn list_failed_jobs(
    conn: impl PgExecutor<'_>,
    limit: i64,
) -> Result<Vec<FailedJob>, sqlx::Error> {
    // The library keeps no time of a failure. It sets `run_at` to this much later.
    let rows: Vec<FailedRow> = sqlx::query_as(
        "SELECT j.id, t.identifier, j.locked_at IS NOT NULL, j.attempts::int, j.max_attempts::int,
                left(j.last_error, $2), j.run_at
         FROM graphile_worker._private_jobs AS j
         JOIN graphile_worker._private_tasks AS t ON t.id = j.task_id
         WHERE j.last_error IS NOT NULL
         ORDER BY j.run_at - exp(least(j.attempts, 10)) * interval '1 second' DESC, j.id DESC
         LIMIT $1",
    )
    .bind(limit)
    .bind(ERROR_MAX)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(FailedJob::from).collect())
}

impl From<FailedRow> for FailedJob {
    fn from(row: FailedRow) -> Self {
        let (id, task, is_running, attempts, max_attempts, last_error, run_at) = row;
        let state = if is_running {
            FailedState::Running
        } else if attempts < max_attempts {
            FailedState::Failed
        } else {
            FailedState::Dead
        };
        Self {
            id,
            task,
            state,
            attempts,
            max_attempts,
            last_error,
            next_attempt: (state == FailedState::Failed).then_some(run_at),
        }
    }
}

/// Outcome of [`retry_failed_job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The job is due, with all its attempts before it.
    Scheduled,
    /// A worker runs the job.
    Running,
    /// No job with this id has failed.
    NotFound,
}

/// Makes a job that has failed due now, with all its attempts before it, and wakes a worker.
pub async fn retry_failed_job(conn: &mut PgConnection, id: i64) -> Result<Retry, sqlx::Error> {
    let is_failed: bool = sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT FROM graphile_worker._private_jobs WHERE id = $1 AND last_error IS NOT NULL
         )",
    )
    .bind(id)
    .fetch_one(&mut *conn)
    .await?;
    if !is_failed {
        return Ok(Retry::NotFound);
    }
    let rescheduled: Option<i32> = sqlx::query_scalar(
        "SELECT 1 FROM graphile_worker.reschedule_jobs(ARRAY[$1], run_at := now(), attempts := 0)",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await?;
    if rescheduled.is_none() {
        return Ok(Retry::Running);
    }
    store::wake(&mut *conn).await?;
    Ok(Retry::Scheduled)
}
