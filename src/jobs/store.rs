//! Every statement on the queue's schema.

use graphile_worker::TaskHandler;
use sqlx::{FromRow, PgExecutor};

use crate::metrics::Queue;

/// How often a job is tried. Between tries the wait grows by a factor of e, from seconds to six
/// hours, so that the last one comes about two days after the first.
const MAX_ATTEMPTS: i32 = 18;

/// The priority of jobs that somebody waits for; lower numbers run first, and other jobs have 0.
const URGENT: i32 = -10;

/// Enqueues a job. Pass the transaction that causes it. Of jobs with the same `key` only the last
/// one waits: a newer one replaces it.
pub async fn enqueue<J: TaskHandler>(
    conn: impl PgExecutor<'_>,
    job: &J,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    enqueue_at(conn, job, key, 0).await
}

/// As [`enqueue`], for a job that runs before all others: an email without which somebody cannot sign
/// in must not wait behind a flood of others.
pub async fn enqueue_urgent<J: TaskHandler>(
    conn: impl PgExecutor<'_>,
    job: &J,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    enqueue_at(conn, job, key, URGENT).await
}

async fn enqueue_at<J: TaskHandler>(
    conn: impl PgExecutor<'_>,
    job: &J,
    key: Option<&str>,
    priority: i32,
) -> Result<(), sqlx::Error> {
    let payload =
        serde_json::to_string(job).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "SELECT 1 FROM graphile_worker.add_job($1, payload => $2::json, max_attempts => $3, job_key => $4, priority => $5)",
    )
    .bind(J::IDENTIFIER)
    .bind(payload)
    .bind(MAX_ATTEMPTS)
    .bind(key)
    .bind(priority)
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the try of a job that runs now its last one.
pub(super) async fn stop_retrying(conn: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE graphile_worker._private_jobs SET max_attempts = attempts WHERE id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// How many jobs were given up after their last try.
pub async fn count_dead(conn: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT count(*) FROM graphile_worker._private_jobs WHERE attempts >= max_attempts",
    )
    .fetch_one(conn)
    .await
}

#[derive(FromRow)]
struct Row {
    waiting: f64,
    oldest_seconds: f64,
    dead: f64,
}

/// What waits in the queue, for its gauges.
pub async fn look(conn: impl PgExecutor<'_>) -> Result<Queue, sqlx::Error> {
    let row: Row = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE due)::float8 AS waiting,
                coalesce(extract(epoch FROM now() - min(run_at) FILTER (WHERE due)), 0)::float8 AS oldest_seconds,
                count(*) FILTER (WHERE attempts >= max_attempts)::float8 AS dead
         FROM (SELECT run_at, attempts, max_attempts,
                      attempts < max_attempts AND run_at <= now() AND locked_at IS NULL AS due
               FROM graphile_worker._private_jobs) AS jobs",
    )
    .fetch_one(conn)
    .await?;
    Ok(Queue {
        waiting: row.waiting,
        oldest_seconds: row.oldest_seconds,
        dead: row.dead,
    })
}
