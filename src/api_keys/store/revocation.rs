//! Revocation for `auth`, which stands below this slice: it undoes a change of an address and revokes the
//! keys made since in one transaction. Uses nothing of this slice, so that there is no circle.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::UserId;

/// Revokes the API keys of this account that were made or rotated since then; returns how many.
pub async fn revoke_since(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $3
         WHERE user_id = $1 AND revoked_at IS NULL AND (created_at >= $2 OR rotated_at >= $2)",
        owner.0,
        since,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
