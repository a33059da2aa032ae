//! Statements on invoices and events of accounts that are erased.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::AccountId;

/// Moves invoices to the account that keeps the books, without their pages at Stripe; returns how many.
pub async fn move_invoices(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    books: AccountId,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE invoices SET account_id = $2, hosted_url = NULL, pdf_url = NULL
         WHERE id IN (SELECT id FROM invoices WHERE account_id = $1 LIMIT $3)",
        account_id.0,
        books.0,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes invoices of accounts that are erased or purged, whose year ended a month before a time.
pub async fn delete_books(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM invoices WHERE id IN (
             SELECT i.id FROM accounts AS a JOIN invoices AS i ON i.account_id = a.id
             WHERE a.deleted_at IS NOT NULL AND a.name = '-'
               AND date_trunc('year', i.created_at, 'UTC') + interval '13 months' < $1
             LIMIT $2
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Returns whether an account has subscriptions, payments or invoices.
pub async fn has_books(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM subscriptions WHERE account_id = $1)
               OR EXISTS (SELECT FROM payments WHERE account_id = $1)
               OR EXISTS (SELECT FROM invoices WHERE account_id = $1) AS "has_books!""#,
        account_id.0,
    )
    .fetch_one(conn)
    .await
}

/// Deletes stored events of a customer; returns how many.
pub async fn delete_events(
    conn: impl PgExecutor<'_>,
    stripe_customer_id: &str,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM stripe_events WHERE id IN (
             SELECT id FROM stripe_events WHERE stripe_customer_id = $1 LIMIT $2
         )",
        stripe_customer_id,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
