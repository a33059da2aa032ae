//! Every statement on `stripe_events`.

use chrono::{DateTime, Utc};
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
