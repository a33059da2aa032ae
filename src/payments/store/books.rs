//! Statements on payments of accounts that are erased, which are kept as books.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::{AccountId, UserId};

/// Payments of an account that are not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenPayments {
    /// Money is on its way.
    pub in_progress: bool,
    /// A payer has disputed one, and the bank has not decided.
    pub disputed: bool,
}

pub async fn find_open(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<OpenPayments, sqlx::Error> {
    sqlx::query_as!(
        OpenPayments,
        r#"SELECT coalesce(bool_or(coalesce(detailed_status, status) IN ('pending', 'processing', 'requires_capture')), false)
                      AS "in_progress!",
                  coalesce(bool_or(coalesce(detailed_status, status) = 'disputed'), false) AS "disputed!"
           FROM payments WHERE account_id = $1"#,
        account_id.0,
    )
    .fetch_one(conn)
    .await
}

/// Moves payments to the account that keeps the books, without the user and the description; returns how many.
pub async fn move_to_books(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    books: AccountId,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE payments SET account_id = $2, user_id = NULL, description = NULL, request_key_hash = NULL
         WHERE id IN (SELECT id FROM payments WHERE account_id = $1 LIMIT $3)",
        account_id.0,
        books.0,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Removes a user from the payments of organisations; returns from how many.
pub async fn remove_payer(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE payments SET user_id = NULL, request_key_hash = NULL
         WHERE id IN (SELECT id FROM payments WHERE user_id = $1 AND account_id <> $1 LIMIT $2)",
        user_id.0,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes payments of accounts that are erased or purged, whose year ended a month before a time.
pub async fn delete_books(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM payments WHERE id IN (
             SELECT p.id FROM accounts AS a JOIN payments AS p ON p.account_id = a.id
             WHERE a.deleted_at IS NOT NULL AND a.name = '-'
               AND date_trunc('year', p.created_at, 'UTC') + interval '13 months' < $1
             LIMIT $2
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
