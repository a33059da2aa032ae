//! Statements on `email_changes`.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use job_queue::{Expired, OwnedRows};
use session_tokens::TokenHash;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::ids::UserId;
use crate::scope;

pub(crate) struct NewEmailChange {
    pub(crate) id: Uuid,
    pub(crate) user_id: UserId,
    pub(crate) old_email: EmailAddress,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
}

pub(crate) async fn insert_email_change(
    conn: impl PgExecutor<'_>,
    new: &NewEmailChange,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO email_changes (id, user_id, old_email, requested_at, changed_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        new.id,
        new.user_id.0,
        new.old_email.as_str(),
        new.requested_at,
        now,
        new.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the old address and when the token expires; `None` if the change can no longer be undone.
pub(crate) async fn update_undo_token(
    conn: impl PgExecutor<'_>,
    id: Uuid,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<(EmailAddress, DateTime<Utc>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE email_changes SET token_hash = $2 WHERE id = $1 AND expires_at > $3
           RETURNING old_email AS "old_email: EmailAddress", expires_at"#,
        id,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.old_email, row.expires_at)))
}

#[derive(Debug)]
pub(crate) struct EmailChange {
    pub(crate) user_id: UserId,
    pub(crate) old_email: EmailAddress,
    pub(crate) requested_at: DateTime<Utc>,
}

pub(crate) async fn find_email_change(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<EmailChange>, sqlx::Error> {
    sqlx::query_as!(
        EmailChange,
        r#"SELECT c.user_id AS "user_id: UserId", c.old_email AS "old_email: EmailAddress", c.requested_at
           FROM email_changes AS c
           JOIN users AS u ON u.id = c.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
           WHERE c.token_hash = $1 AND c.expires_at > $2"#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Uses up a token, and with it those of all later changes of the account: they were sent to addresses
/// that the account leaves by this. Of any number that race one returns true.
pub(crate) async fn delete_email_change(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM email_changes AS c
         USING email_changes AS undone
         WHERE undone.user_id = $1 AND undone.token_hash = $2 AND undone.expires_at > $3
           AND c.user_id = undone.user_id AND (c.changed_at, c.id) >= (undone.changed_at, undone.id)",
        owner.0,
        &token.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Changes that cannot be undone any more: an old address is kept for nothing else.
pub(crate) const EXPIRED_CHANGES: Expired =
    Expired::new("email changes", "email_changes", "expires_at")
        .unless_held(scope::LEGAL_HOLDS, "user_id");

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub(crate) const ERASED: [OwnedRows; 1] = [OwnedRows::new("email_changes", "user_id")];
