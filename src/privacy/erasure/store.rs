//! Every statement on `account_deletions`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Deferral, Deletion, NewDeletion};
use crate::ids::{AccountId, UserId};

/// Adds a deletion; one that waits gets the earlier time.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    new: NewDeletion,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO account_deletions AS d (user_id, requested_at, erase_at, next_attempt_at, books_id, is_notified)
         VALUES ($1, $2, $3, $3, $4, $5)
         ON CONFLICT ON CONSTRAINT account_deletions_pkey DO UPDATE SET
             erase_at = least(d.erase_at, $3), next_attempt_at = least(d.next_attempt_at, $3),
             is_notified = d.is_notified AND $5",
        new.user_id.0,
        now,
        new.erase_at,
        new.books_id.0,
        new.is_notified,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(in crate::privacy) async fn find(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<Deletion>, sqlx::Error> {
    sqlx::query_as!(
        Deletion,
        r#"SELECT user_id AS "user_id: UserId", requested_at, erase_at, deferred_reason AS "deferred_reason: Deferral",
                  started_at, stripe_customer_id, books_id AS "books_id: AccountId", erased_at, email, is_notified
           FROM account_deletions WHERE user_id = $1"#,
        user_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Deletions whose user is not gone, the oldest request first.
pub(super) async fn list_open(conn: impl PgExecutor<'_>) -> Result<Vec<Deletion>, sqlx::Error> {
    sqlx::query_as!(
        Deletion,
        r#"SELECT user_id AS "user_id: UserId", requested_at, erase_at, deferred_reason AS "deferred_reason: Deferral",
                  started_at, stripe_customer_id, books_id AS "books_id: AccountId", erased_at, email, is_notified
           FROM account_deletions WHERE erased_at IS NULL ORDER BY requested_at, user_id"#,
    )
    .fetch_all(conn)
    .await
}

/// Takes the next deletion that is due: nobody else does before `lease_until`.
pub(super) async fn take_due(
    conn: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> Result<Option<Deletion>, sqlx::Error> {
    sqlx::query_as!(
        Deletion,
        r#"UPDATE account_deletions SET next_attempt_at = $2
           WHERE user_id = (
               SELECT user_id FROM account_deletions WHERE next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
           )
           RETURNING user_id AS "user_id: UserId", requested_at, erase_at,
                     deferred_reason AS "deferred_reason: Deferral", started_at, stripe_customer_id,
                     books_id AS "books_id: AccountId", erased_at, email, is_notified"#,
        now,
        lease_until,
    )
    .fetch_optional(conn)
    .await
}

/// Deletions that end before a time and of which nobody was reminded, at most `most`: marks them as reminded, and returns
/// those that were announced at least twice as long before.
pub(super) async fn take_reminders(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<(UserId, DateTime<Utc>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"UPDATE account_deletions SET reminded_at = $2
           WHERE user_id IN (
               SELECT user_id FROM account_deletions
               WHERE erase_at <= $1 AND reminded_at IS NULL AND started_at IS NULL
               LIMIT $3 FOR UPDATE SKIP LOCKED
           )
           RETURNING user_id AS "user_id: UserId", erase_at,
                     is_notified AND erase_at > $2 AND erase_at - requested_at >= 2 * ($1 - $2) AS "is_due!""#,
        before,
        now,
        most,
    )
    .fetch_all(conn)
    .await?;
    let due = rows.into_iter().filter(|row| row.is_due);
    Ok(due.map(|row| (row.user_id, row.erase_at)).collect())
}

/// Sets when the next attempt is made, and why this one has to wait.
pub(super) async fn set_next_attempt(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    next_attempt_at: DateTime<Utc>,
    deferred: Option<Deferral>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE account_deletions SET next_attempt_at = $2, deferred_reason = $3 WHERE user_id = $1",
        user_id.0,
        next_attempt_at,
        deferred.map(Deferral::as_str),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores that the erasure has begun.
pub(super) async fn start(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE account_deletions SET started_at = $2, deferred_reason = NULL WHERE user_id = $1",
        user_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn set_customer(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    stripe_customer_id: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE account_deletions SET stripe_customer_id = $2 WHERE user_id = $1",
        user_id.0,
        stripe_customer_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores that the user is gone, and to whom an email about it goes.
pub(super) async fn finish(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    email: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE account_deletions SET erased_at = $2, email = $3 WHERE user_id = $1",
        user_id.0,
        now,
        email,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the address, to which the email is sent or can never be.
pub(super) async fn remove_email(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE account_deletions SET email = NULL WHERE user_id = $1",
        user_id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete(conn: impl PgExecutor<'_>, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM account_deletions WHERE user_id = $1",
        user_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The earliest end of a deletion that is over and not done.
pub(in crate::privacy) async fn find_oldest_due(
    conn: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT min(erase_at) FROM account_deletions WHERE erased_at IS NULL AND erase_at <= $1",
        now,
    )
    .fetch_one(conn)
    .await
}
