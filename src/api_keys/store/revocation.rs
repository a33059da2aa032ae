//! Revocation for `auth`, which is below this slice and revokes keys in the transaction that undoes an email
//! address change. Uses nothing of this slice, so that there is no circle.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::UserId;

/// Revokes the keys that a user created, for whichever account, and that are new or were rotated since then; returns
/// their number. Needs [`Exception::Authentication`](crate::scope::Exception::Authentication).
pub async fn revoke_since(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $3
         WHERE user_id = $1 AND revoked_at IS NULL AND (created_at >= $2 OR rotated_at >= $2)",
        user_id.0,
        since,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
