//! Statements on `email_suppressions`.

use chrono::{DateTime, Utc};
use crypto::Mac;
use job_queue::Expired;
use sqlx::PgExecutor;

use super::model::{Suppression, SuppressionReason};

/// False if the address was suppressed for the same reason; the time is then that of the newest report.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    address_hash: Mac,
    reason: SuppressionReason,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"INSERT INTO email_suppressions AS s (address_hash, reason, created_at) VALUES ($1, $2, $3)
           ON CONFLICT ON CONSTRAINT email_suppressions_pkey DO UPDATE SET created_at = greatest(s.created_at, $3)
           RETURNING xmax = 0 AS "is_new!""#,
        &address_hash,
        reason.as_str(),
        now,
    )
    .fetch_one(conn)
    .await
}

/// Suppressions of an address, by its hash under each key.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    hashes: &[Vec<u8>],
) -> Result<Vec<Suppression>, sqlx::Error> {
    sqlx::query_as!(
        Suppression,
        r#"SELECT reason AS "reason: SuppressionReason", min(created_at) AS "created_at!" FROM email_suppressions
           WHERE address_hash = ANY ($1) GROUP BY reason ORDER BY reason"#,
        hashes,
    )
    .fetch_all(conn)
    .await
}

/// Deletes the suppressions of an address, or those with one reason; returns how many.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    hashes: &[Vec<u8>],
    reason: Option<SuppressionReason>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM email_suppressions WHERE address_hash = ANY ($1) AND ($2::text IS NULL OR reason = $2)",
        hashes,
        reason.map(SuppressionReason::as_str),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

pub(super) const EXPIRED: Expired =
    Expired::new("email suppressions", "email_suppressions", "created_at");
