//! Statements on `users` for the deletion of an account.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use sqlx::PgExecutor;

use crate::ids::UserId;
use crate::users::model::CredentialsChange;

/// Sets when a user is erased, or with `None` that the deletion is canceled.
pub async fn set_erase_at(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    erase_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET erase_at = $2, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL",
        change.user_id().0,
        erase_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks a user as deleted: for everybody else there is no such user from then on. The row reserves the address until it
/// is deleted. Returns the address.
pub async fn begin_erasure(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    now: DateTime<Utc>,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE users SET deleted_at = $2, updated_at = $2 WHERE id = $1 AND deleted_at IS NULL
           RETURNING email AS "email: EmailAddress""#,
        change.user_id().0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Address of a user who is marked as deleted.
pub async fn find_erased_address(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT email AS "email: EmailAddress" FROM users WHERE id = $1 AND deleted_at IS NOT NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Returns whether a user exists, marked as deleted or not.
pub async fn exists(conn: impl PgExecutor<'_>, id: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM users WHERE id = $1) AS "exists!""#,
        id.0
    )
    .fetch_one(conn)
    .await
}

/// Deletes a user who is marked as deleted, with the rows of tables that refer to them.
pub async fn delete_erased(conn: impl PgExecutor<'_>, id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM users WHERE id = $1 AND deleted_at IS NOT NULL",
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}
