//! Statements for the deletion of a user, and on accounts that keep only books.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use sqlx::PgExecutor;

use crate::ids::{AccountId, UserId};

/// Organisations of which a user is the last owner, at most `most`. Owners whose own deletion is pending do not count,
/// and deleted organisations need no owner.
pub async fn list_solely_owned(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    most: i64,
) -> Result<Vec<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT m.account_id AS "id: AccountId"
           FROM memberships AS m
           JOIN accounts AS a ON a.id = m.account_id AND a.deleted_at IS NULL
           WHERE m.user_id = $1 AND m.role = 'owner' AND NOT EXISTS (
               SELECT FROM memberships AS o
               JOIN users AS u ON u.id = o.user_id AND u.erase_at IS NULL AND u.deleted_at IS NULL
               WHERE o.account_id = m.account_id AND o.role = 'owner' AND o.user_id <> $1)
           ORDER BY m.created_at LIMIT $2"#,
        user_id.0,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Locks the organisations that a user owns, so that none loses its other owners until the end of the transaction.
pub async fn lock_owned(conn: impl PgExecutor<'_>, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT FROM accounts
         WHERE id IN (SELECT account_id FROM memberships WHERE user_id = $1 AND role = 'owner') AND deleted_at IS NULL
         ORDER BY id
         FOR UPDATE",
        user_id.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Removes a user from all organisations, and returns those. Also deletes invitations to the address, and that it wants
/// none.
pub async fn remove_member(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    email: &EmailAddress,
) -> Result<Vec<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH invited AS (
               DELETE FROM invitations WHERE email = $2
           ), blocks AS (
               DELETE FROM invitation_blocks WHERE email = $2
           )
           DELETE FROM memberships WHERE user_id = $1 RETURNING account_id AS "id: AccountId""#,
        user_id.0,
        email.as_str(),
    )
    .fetch_all(conn)
    .await
}

/// Adds an account that keeps the books of an erased one. It is like an organisation that was purged: without a name, a
/// slug or members.
pub async fn insert_books(
    conn: impl PgExecutor<'_>,
    id: AccountId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO accounts (id, kind, name, created_at, updated_at, deleted_at)
         VALUES ($1, 'organisation', '-', $2, $2, $2) ON CONFLICT DO NOTHING",
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes accounts that kept books and have none left, at most `most`.
pub async fn delete_empty_books(conn: impl PgExecutor<'_>, most: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM accounts WHERE id IN (
             SELECT a.id FROM accounts AS a
             WHERE a.deleted_at IS NOT NULL AND a.kind = 'organisation' AND a.name = '-'
               AND NOT EXISTS (SELECT FROM account_slugs AS s WHERE s.account_id = a.id)
               AND NOT EXISTS (SELECT FROM subscriptions AS s WHERE s.account_id = a.id)
               AND NOT EXISTS (SELECT FROM payments AS p WHERE p.account_id = a.id)
               AND NOT EXISTS (SELECT FROM invoices AS i WHERE i.account_id = a.id)
             LIMIT $1 FOR UPDATE OF a SKIP LOCKED
         )",
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
