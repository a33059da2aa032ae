//! Every statement on the queue's schema.

use graphile_worker::TaskHandler;
use sqlx::{FromRow, PgExecutor};

use crate::metrics::Queue;

/// How often a job is tried. Between tries the wait grows by a factor of e, from seconds to six
/// hours, so that the last one comes about two days after the first.
const MAX_ATTEMPTS: i32 = 18;

/// Enqueues a job. Pass the transaction that causes it. Of jobs with the same `key` only the last
/// one waits: a newer one replaces it.
pub async fn enqueue<J: TaskHandler>(
    conn: impl PgExecutor<'_>,
    job: &J,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    let payload =
        serde_json::to_string(job).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "SELECT 1 FROM graphile_worker.add_job($1, payload => $2::json, max_attempts => $3, job_key => $4)",
    )
    .bind(J::IDENTIFIER)
    .bind(payload)
    .bind(MAX_ATTEMPTS)
    .bind(key)
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
