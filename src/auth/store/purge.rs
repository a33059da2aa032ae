//! The purges: each deletes a batch of rows that an index finds, and passes over rows that somebody
//! else has locked.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// Deletes one-time links that expired before `before`.
pub(crate) async fn purge_links(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM one_time_tokens WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM one_time_tokens WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes sign-ins that waited for their second factor until before `before`.
pub(crate) async fn purge_challenges(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM mfa_challenges WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM mfa_challenges WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes refresh tokens of the release before that expired before `before`.
pub(crate) async fn purge_tokens(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM refresh_tokens WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM refresh_tokens WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes sessions that ended before `before`.
pub(crate) async fn purge_ended_sessions(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM sessions WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM sessions WHERE ended_at < $1 AND ended_at IS NOT NULL
             ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes sessions that expired before `before`.
pub(crate) async fn purge_expired_sessions(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM sessions WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM sessions WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes revocations of sessions whose last access token ran out before `before`. The oldest are the
/// first in the order of the primary key.
pub(crate) async fn purge_revocations(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM session_revocations WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM session_revocations WHERE ended_at < $1
             ORDER BY xid, id LIMIT $2 FOR UPDATE SKIP LOCKED
         ))",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
