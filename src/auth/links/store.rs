//! Statements on `one_time_tokens`.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use job_queue::{Expired, OwnedRows};
use session_tokens::TokenHash;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{Link, NewLink, Purpose};
use crate::ids::UserId;
use crate::scope;
use crate::users::CredentialsVersion;

/// Replaces the account's link for this purpose; false, without a link, if the credentials have changed since the
/// request.
pub(crate) async fn insert(
    conn: impl PgExecutor<'_>,
    link: &NewLink<'_>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let (new_email, created_at) = match link.purpose {
        Purpose::ChangeEmail(email, requested_at) => (Some(email.as_str()), *requested_at),
        Purpose::VerifyEmail | Purpose::ResetPassword | Purpose::Unlock => (None, now),
    };
    let done = sqlx::query!(
        "WITH owner AS (
             SELECT id FROM users WHERE id = $1 AND credentials_version = $2 AND deleted_at IS NULL FOR SHARE
         )
         INSERT INTO one_time_tokens (user_id, credentials_version, purpose, token_hash, created_at, expires_at, new_email)
         SELECT id, $2, $3, $4, $5, $6, $7 FROM owner
         ON CONFLICT ON CONSTRAINT one_time_tokens_pkey
         DO UPDATE SET credentials_version = excluded.credentials_version, token_hash = excluded.token_hash,
                       created_at = excluded.created_at, expires_at = excluded.expires_at,
                       new_email = excluded.new_email",
        link.user_id.0,
        link.version.0,
        link.purpose.as_str(),
        &link.token.0,
        created_at,
        link.expires_at,
        new_email,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) async fn find(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    purposes: &[&str],
    now: DateTime<Utc>,
) -> Result<Option<Link>, sqlx::Error> {
    sqlx::query_as!(
        Link,
        r#"SELECT t.user_id AS "user_id: UserId", t.credentials_version AS "version: CredentialsVersion",
                  t.created_at, t.new_email AS "new_email: EmailAddress"
           FROM one_time_tokens AS t
           JOIN users AS u ON u.id = t.user_id AND u.credentials_version = t.credentials_version
           WHERE t.token_hash = $1 AND t.purpose = ANY ($2::text[]) AND t.expires_at > $3"#,
        &token.0,
        purposes as &[&str],
        now,
    )
    .fetch_optional(conn)
    .await
}

pub(crate) async fn is_unlock_recent(
    conn: impl PgExecutor<'_>,
    user_id: Option<UserId>,
    since: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM one_time_tokens WHERE user_id = $1 AND purpose = 'unlock' AND created_at > $2
           ) AS "is_recent!""#,
        user_id.map_or(Uuid::nil(), |id| id.0),
        since,
    )
    .fetch_one(conn)
    .await
}

/// Atomic: of concurrent calls exactly one returns `Some`. The row stays as expired, because the time of the next
/// email depends on it.
pub(crate) async fn use_unlock(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE one_time_tokens AS t SET expires_at = $2
           FROM users AS u
           WHERE t.token_hash = $1 AND t.purpose = 'unlock' AND t.expires_at > $2
             AND u.id = t.user_id AND u.credentials_version = t.credentials_version
           RETURNING t.user_id AS "user_id: UserId""#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

pub(crate) const EXPIRED: Expired = Expired::new("links", "one_time_tokens", "expires_at")
    .unless_held(scope::LEGAL_HOLDS, "user_id");

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub(crate) const ERASED: [OwnedRows; 1] = [OwnedRows::new("one_time_tokens", "user_id")];
