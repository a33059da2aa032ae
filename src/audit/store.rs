//! Every statement on `audit_log`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgExecutor;

use super::model::Entry;
use crate::ids::AuditId;
use crate::infra::Rng;

/// Writes one entry, in the transaction of what it tells.
pub async fn record(
    conn: impl PgExecutor<'_>,
    entry: Entry<'_>,
    now: DateTime<Utc>,
    rng: &Rng,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit_log (id, created_at, event, user_id, actor_id, session_id, request_id, ip, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        AuditId::new(now, rng).0,
        now,
        entry.event.as_str(),
        entry.user_id.map(|id| id.0),
        entry.actor_id.map(|id| id.0),
        entry.session_id.map(|id| id.0),
        entry.origin.request_id.as_deref(),
        entry.origin.ip.map(IpNetwork::from),
        entry.detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes the log's partitions for this month and the next ones; answers how many were missing.
pub(super) async fn create_partitions(
    conn: impl PgExecutor<'_>,
    months_ahead: i32,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT create_month_partitions('audit_log', $1) AS "made!""#,
        months_ahead
    )
    .fetch_one(conn)
    .await
}
