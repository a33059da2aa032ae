//! Every statement on `stripe_events`.

use chrono::{DateTime, Utc};
use job_queue::SerialJob;
use sqlx::PgExecutor;

use super::envelope::Event;

/// Stores an event; returns whether it is new.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    id: &str,
    event: &Event,
    is_live: bool,
    body: &[u8],
    has_effect: bool,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO stripe_events (
             id, type, api_version, livemode, stripe_customer_id, object_id, payload, created_at, received_at, processed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 THEN NULL ELSE $9::timestamptz END)
         ON CONFLICT (id) DO NOTHING",
        id,
        event.kind,
        event.api_version,
        is_live,
        event.customer,
        event.object_id,
        body,
        event.created_at.unwrap_or(now),
        now,
        has_effect,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Stores an event and enqueues the job of its customer; returns whether the event is new. One statement, since each
/// round trip holds a connection of the pool. A job that waits already is locked in share mode until the commit, so that
/// it begins after it, and is not replaced: that would notify the workers, and commits that notify are one at a time.
/// Not checked at compile time, since the queue's schema is not among the migrations.
pub(super) async fn insert_with_job(
    conn: impl PgExecutor<'_>,
    id: &str,
    event: &Event,
    is_live: bool,
    body: &[u8],
    job: &SerialJob,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let (stored, _): (i64, i64) = sqlx::query_as(
        "WITH stored AS (
             INSERT INTO stripe_events (
                 id, type, api_version, livemode, stripe_customer_id, object_id, payload, created_at, received_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (id) DO NOTHING RETURNING id
         ), waiting AS MATERIALIZED (
             SELECT id FROM graphile_worker._private_jobs
             WHERE key = $10 AND locked_at IS NULL AND attempts = 0 FOR SHARE
         )
         SELECT count(*), count(CASE WHEN EXISTS (SELECT FROM waiting) THEN 0 ELSE (graphile_worker.add_job(
                    $11, payload => $12::json, max_attempts => $13, job_key => $10, queue_name => $14,
                    run_at => now() + make_interval(secs => $15), job_key_mode => 'preserve_run_at')).id END)
         FROM stored",
    )
    .bind(id)
    .bind(&event.kind)
    .bind(&event.api_version)
    .bind(is_live)
    .bind(&event.customer)
    .bind(&event.object_id)
    .bind(body)
    .bind(event.created_at.unwrap_or(now))
    .bind(now)
    .bind(&job.key)
    .bind(job.identifier)
    .bind(&job.payload)
    .bind(job.max_attempts)
    .bind(&job.queue)
    .bind(job.delay.as_secs_f64())
    .fetch_one(conn)
    .await?;
    Ok(stored == 1)
}

/// An event that waits to be processed.
pub(super) struct WaitingEvent {
    pub id: String,
    pub kind: String,
}

/// Events of one customer that wait, the oldest first.
pub(super) async fn list_waiting(
    conn: impl PgExecutor<'_>,
    customer: &str,
    limit: i64,
) -> Result<Vec<WaitingEvent>, sqlx::Error> {
    sqlx::query_as!(
        WaitingEvent,
        "SELECT id, type AS kind FROM stripe_events
         WHERE stripe_customer_id = $1 AND processed_at IS NULL
         ORDER BY received_at LIMIT $2",
        customer,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Raw body of an event that waits.
pub(super) async fn find_waiting(
    conn: impl PgExecutor<'_>,
    id: &str,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT payload FROM stripe_events WHERE id = $1 AND processed_at IS NULL",
        id,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn set_customer(
    conn: impl PgExecutor<'_>,
    id: &str,
    customer: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE stripe_events SET stripe_customer_id = $2 WHERE id = $1",
        id,
        customer,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn mark_processed(
    conn: impl PgExecutor<'_>,
    ids: &[String],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE stripe_events SET processed_at = $2 WHERE id = ANY ($1)",
        ids,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Customers with events that wait, or, with a time, with events since then, which wait again.
pub(in crate::billing) async fn list_customers_to_replay(
    conn: impl PgExecutor<'_>,
    since: Option<DateTime<Utc>>,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH again AS (
               UPDATE stripe_events SET processed_at = NULL
               WHERE received_at >= $1 AND stripe_customer_id IS NOT NULL
               RETURNING stripe_customer_id
           )
           SELECT stripe_customer_id AS "customer!" FROM again
           UNION
           SELECT stripe_customer_id FROM stripe_events
           WHERE processed_at IS NULL AND stripe_customer_id IS NOT NULL"#,
        since,
    )
    .fetch_all(conn)
    .await
}

/// Events that wait for their customer to be found.
pub(in crate::billing) async fn list_events_without_customer(
    conn: impl PgExecutor<'_>,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT id FROM stripe_events WHERE processed_at IS NULL AND stripe_customer_id IS NULL",
    )
    .fetch_all(conn)
    .await
}

/// Seconds that the oldest event has waited; 0 if none waits.
pub async fn lag(conn: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<f64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(extract(epoch FROM $1 - min(received_at)), 0)::float8 AS "seconds!"
           FROM stripe_events WHERE processed_at IS NULL"#,
        now,
    )
    .fetch_one(conn)
    .await
}
