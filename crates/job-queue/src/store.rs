//! Statements on the queue's schema.

use std::time::Duration;

use chrono::{DateTime, Utc};
use database::Db;
use graphile_worker::TaskHandler;
use sqlx::PgExecutor;

/// Backoff grows by a factor of e, from seconds to six hours, so that the last attempt is about two days
/// after the first.
const MAX_ATTEMPTS: i32 = 18;

/// Lower numbers run first; other jobs have 0.
const URGENT: i32 = -10;

/// Enqueues a job in the transaction that causes it. A job replaces a waiting one with the same `key`.
pub async fn enqueue<J: TaskHandler>(
    conn: impl PgExecutor<'_>,
    job: &J,
    key: Option<&str>,
) -> Result<(), sqlx::Error> {
    enqueue_at(conn, job, key, 0).await
}

/// As [`enqueue`], for a job that runs before all others, such as an email that is needed to sign in.
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
    let payload = payload(job)?;
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

fn payload<J: TaskHandler>(job: &J) -> Result<String, sqlx::Error> {
    serde_json::to_string(job).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// Job that runs after `delay`, one at a time of all jobs in `queue`. A job that already waits under `key` is replaced and
/// keeps its time, so that a burst becomes one job. The library keeps a row for each name of a queue.
#[derive(Clone, Debug)]
pub struct SerialJob {
    pub identifier: &'static str,
    /// JSON.
    pub payload: String,
    pub max_attempts: i32,
    pub key: String,
    pub queue: String,
    pub delay: Duration,
}

impl SerialJob {
    pub fn new<J: TaskHandler>(
        job: &J,
        key: String,
        queue: String,
        delay: Duration,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self {
            identifier: J::IDENTIFIER,
            payload: payload(job)?,
            max_attempts: MAX_ATTEMPTS,
            key,
            queue,
            delay,
        })
    }
}

/// Enqueues a [`SerialJob`].
pub async fn enqueue_serial(conn: impl PgExecutor<'_>, job: &SerialJob) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT 1 FROM graphile_worker.add_job($1, payload => $2::json, max_attempts => $3, job_key => $4,
             queue_name => $5, run_at => now() + make_interval(secs => $6), job_key_mode => 'preserve_run_at')",
    )
    .bind(job.identifier)
    .bind(&job.payload)
    .bind(job.max_attempts)
    .bind(&job.key)
    .bind(&job.queue)
    .bind(job.delay.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a worker run a job that is due. Workers look for jobs when one is enqueued, which a delayed one does before it is
/// due, and every `WORKER_POLL_INTERVAL` for as many as they run at once.
pub async fn wake(conn: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify('jobs:insert', '{\"r\":0,\"count\":1}')")
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes the current attempt of a running job its last one.
pub(crate) async fn stop_retrying(conn: impl PgExecutor<'_>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE graphile_worker._private_jobs SET max_attempts = attempts WHERE id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Maximum that gauges count, for each priority.
const COUNT_MAX: i64 = 10_000;

/// Counts jobs that failed at their last attempt, up to 10,000, by an index.
pub async fn count_dead(conn: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT FROM graphile_worker._private_jobs WHERE attempts >= max_attempts LIMIT $1
         ) AS dead",
    )
    .bind(COUNT_MAX)
    .fetch_one(conn)
    .await
}

/// Adds a CTE of the priorities that have available jobs: a loose index scan on the library's index on
/// priority and time, in which each priority then has the oldest due job first.
macro_rules! with_priorities {
    ($statement:literal) => {
        concat!(
            "WITH RECURSIVE priorities AS (
                 SELECT min(priority) AS priority FROM graphile_worker._private_jobs WHERE is_available
                 UNION ALL
                 SELECT (SELECT min(priority) FROM graphile_worker._private_jobs
                         WHERE is_available AND priority > p.priority)
                 FROM priorities AS p WHERE p.priority IS NOT NULL
             ) ",
            $statement
        )
    };
}

/// State of the queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueState {
    /// Due and not started.
    pub waiting: f64,
    /// How long the oldest due job has waited.
    pub oldest_seconds: f64,
    /// Failed at their last attempt.
    pub dead: f64,
}

/// Reads the state of the queue. Due jobs are counted up to 10,000 of each priority; jobs scheduled for
/// later are not read.
pub async fn queue_state(pool: &Db) -> Result<QueueState, sqlx::Error> {
    let (waiting, oldest_seconds) = sqlx::query_as(with_priorities!(
        "SELECT count(*)::float8 AS waiting,
                coalesce(extract(epoch FROM now() - min(due.run_at)), 0)::float8 AS oldest_seconds
         FROM priorities AS p
         CROSS JOIN LATERAL (
             SELECT run_at FROM graphile_worker._private_jobs
             WHERE is_available AND priority = p.priority AND run_at <= now()
             ORDER BY run_at LIMIT $1
         ) AS due"
    ))
    .bind(COUNT_MAX)
    .fetch_one(pool)
    .await?;
    let dead = count_dead(pool).await?;
    Ok(QueueState {
        waiting,
        oldest_seconds,
        dead: f64::from(u32::try_from(dead).unwrap_or(u32::MAX)),
    })
}

/// Returns whether a job has been due for so long. Reads one row of each priority, whatever the queue's length.
pub async fn is_late(conn: impl PgExecutor<'_>, after: Duration) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(with_priorities!(
        "SELECT coalesce(min(oldest.run_at) <= now() - make_interval(secs => $1), false)
         FROM priorities AS p
         CROSS JOIN LATERAL (
             SELECT run_at FROM graphile_worker._private_jobs
             WHERE is_available AND priority = p.priority
             ORDER BY run_at LIMIT 1
         ) AS oldest"
    ))
    .bind(after.as_secs_f64())
    .fetch_one(conn)
    .await
}

/// Deletes a batch of dead jobs; returns how many of each task. `run_at` of a dead job is the time of the
/// attempt that it does not get, hours after its last one.
pub(crate) async fn delete_dead(
    conn: impl PgExecutor<'_>,
    after: Duration,
    limit: i64,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "WITH dead AS (
             DELETE FROM graphile_worker._private_jobs WHERE id IN (
                 SELECT id FROM graphile_worker._private_jobs
                 WHERE attempts >= max_attempts AND locked_at IS NULL
                     AND run_at < now() - make_interval(secs => $1)
                 ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED
             ) RETURNING task_id
         )
         SELECT t.identifier, count(*) FROM dead
         JOIN graphile_worker._private_tasks AS t ON t.id = dead.task_id GROUP BY 1",
    )
    .bind(after.as_secs_f64())
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// Rows of a table without a time limit, each of which keeps the expired rows of one owner.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    pub table: &'static str,
    /// Id of the owner.
    pub column: &'static str,
}

/// Rows that a purge deletes once the time in `column` has passed. Needs an index on the columns of `order`.
#[derive(Clone, Copy, Debug)]
pub struct Expired {
    pub(crate) what: &'static str,
    table: &'static str,
    column: &'static str,
    order: &'static str,
    /// With the column that names the owner.
    holds: Option<(Holds, &'static str)>,
}

impl Expired {
    #[must_use]
    pub const fn new(what: &'static str, table: &'static str, column: &'static str) -> Self {
        Self {
            what,
            table,
            column,
            order: column,
            holds: None,
        }
    }

    /// For tables whose index begins with other columns that grow with time.
    #[must_use]
    pub const fn ordered_by(self, order: &'static str) -> Self {
        Self { order, ..self }
    }

    /// Keeps the rows whose owner, in the column `owner`, has a row among `holds`.
    #[must_use]
    pub const fn unless_held(self, holds: Holds, owner: &'static str) -> Self {
        Self {
            holds: Some((holds, owner)),
            ..self
        }
    }

    /// Name in logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.what
    }

    /// Condition that leaves out rows that are held.
    fn not_held(&self) -> String {
        let Some((Holds { table, column }, owner)) = self.holds else {
            return String::new();
        };
        let own = self.table;
        format!(" AND NOT EXISTS (SELECT FROM {table} AS h WHERE h.{column} = {own}.{owner})")
    }

    /// Time in `column` of the oldest row that is not held.
    pub async fn oldest(
        self,
        conn: impl PgExecutor<'_>,
    ) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let not_held = self.not_held();
        let Self {
            table,
            column,
            order,
            ..
        } = self;
        let sql = format!(
            "SELECT {column} FROM {table} WHERE {column} IS NOT NULL{not_held} ORDER BY {order} LIMIT 1"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_optional(conn)
            .await
    }

    /// Deletes at most `most` unlocked rows; returns how many.
    pub(crate) async fn delete(
        self,
        conn: impl PgExecutor<'_>,
        before: DateTime<Utc>,
        most: i64,
    ) -> Result<u64, sqlx::Error> {
        let not_held = self.not_held();
        let Self {
            table,
            column,
            order,
            ..
        } = self;
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM {table} WHERE {column} < $1{not_held}
                 ORDER BY {order} LIMIT $2 FOR UPDATE SKIP LOCKED
             ))"
        );
        let done = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(before)
            .bind(most)
            .execute(conn)
            .await?;
        Ok(done.rows_affected())
    }
}
