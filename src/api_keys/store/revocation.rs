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

/// Revokes the keys of a personal account; returns their number. Needs
/// [`Exception::Authentication`](crate::scope::Exception::Authentication).
pub async fn revoke_personal(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE api_keys SET revoked_at = $2 WHERE account_id = $1 AND revoked_at IS NULL",
        user_id.personal_account().0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Makes the first owner of each organisation the creator of the keys that a user has created for it, since a key is
/// deleted with its creator; returns how many.
pub async fn give_to_owners(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE api_keys AS k SET user_id = o.user_id
         FROM (SELECT DISTINCT ON (account_id) account_id, user_id FROM memberships
               WHERE role = 'owner' AND user_id <> $1
                 AND account_id IN (SELECT account_id FROM api_keys WHERE user_id = $1 AND account_id <> $1)
               ORDER BY account_id, created_at, user_id) AS o
         WHERE k.user_id = $1 AND k.account_id = o.account_id AND k.account_id <> $1",
        user_id.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
