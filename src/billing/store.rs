//! Statements on `checkouts`, `invoices` and `billing_notices`.

pub(super) mod accounts;
mod erasure;
pub(super) mod usage;

pub use erasure::{delete_books, delete_events, has_books, move_invoices};

use chrono::{DateTime, Utc};
use job_queue::OwnedRows;
use sqlx::PgExecutor;

use super::model::{Checkout, CheckoutTerms, ProvidedInvoice};
use crate::ids::{AccountId, CheckoutId, InvoiceId, UserId};

/// The checkout that is not finished yet.
pub(super) async fn find_open_checkout(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Option<Checkout>, sqlx::Error> {
    sqlx::query_as!(
        Checkout,
        r#"SELECT id AS "id: CheckoutId", stripe_price_id, quantity, trial_days, stripe_session_id, url, created_at
           FROM checkouts WHERE account_id = $1 AND status IN ('pending', 'open')"#,
        account_id.0,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert_checkout(
    conn: impl PgExecutor<'_>,
    id: CheckoutId,
    account_id: AccountId,
    terms: &CheckoutTerms,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO checkouts (id, account_id, user_id, stripe_price_id, quantity, trial_days, status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $7)",
        id.0,
        account_id.0,
        terms.user_id.0,
        terms.stripe_price_id,
        terms.quantity,
        terms.trial_days,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores the session that Stripe made for a checkout. Returns false if the checkout is finished.
pub(super) async fn open_checkout(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: CheckoutId,
    stripe_session_id: &str,
    url: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE checkouts SET status = 'open', stripe_session_id = $3, url = $4, updated_at = $5
         WHERE account_id = $1 AND id = $2 AND status IN ('pending', 'open')",
        account_id.0,
        id.0,
        stripe_session_id,
        url,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finishes a checkout that was paid.
pub(super) async fn complete_checkout(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: CheckoutId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE checkouts SET status = 'complete', updated_at = $3
         WHERE account_id = $1 AND id = $2 AND status IN ('pending', 'open')",
        account_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Finishes a checkout whose session can no longer be paid. Has no effect if another request has stored a session
/// since the checkout was read: that session is open.
pub(super) async fn expire_checkout(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    checkout: &Checkout,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE checkouts SET status = 'expired', updated_at = $4
         WHERE account_id = $1 AND id = $2 AND status IN ('pending', 'open')
           AND stripe_session_id IS NOT DISTINCT FROM $3",
        account_id.0,
        checkout.id.0,
        checkout.stripe_session_id,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Finishes the checkout of an account that is not paid and no longer can be.
pub(super) async fn expire_open_checkout(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE checkouts SET status = 'expired', updated_at = $2
         WHERE account_id = $1 AND status IN ('pending', 'open')",
        account_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds the account of a checkout session.
pub(super) async fn find_session_account(
    conn: impl PgExecutor<'_>,
    stripe_session_id: &str,
) -> Result<Option<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT account_id AS "id: AccountId" FROM checkouts WHERE stripe_session_id = $1"#,
        stripe_session_id,
    )
    .fetch_optional(conn)
    .await
}

/// The user who began a checkout.
pub(super) async fn find_buyer(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: CheckoutId,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "id: UserId" FROM checkouts WHERE account_id = $1 AND id = $2"#,
        account_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Members of an organisation; 1 for a personal account.
pub(super) async fn count_seats(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT greatest(count(*), 1) AS "count!" FROM memberships WHERE account_id = $1"#,
        account_id.0,
    )
    .fetch_one(conn)
    .await
}

/// Stores an invoice as it is at Stripe.
pub(super) async fn upsert_invoice(
    conn: impl PgExecutor<'_>,
    id: InvoiceId,
    account_id: AccountId,
    invoice: &ProvidedInvoice,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let it = invoice;
    sqlx::query!(
        "INSERT INTO invoices AS i (
             id, account_id, stripe_invoice_id, stripe_subscription_id, number, status, total, amount_due, amount_paid,
             amount_remaining, currency, attempt_count, next_attempt_at, hosted_url, pdf_url, period_start, period_end,
             created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
         ON CONFLICT (stripe_invoice_id) DO UPDATE SET
             stripe_subscription_id = excluded.stripe_subscription_id, number = excluded.number,
             status = excluded.status, total = excluded.total, amount_due = excluded.amount_due,
             amount_paid = excluded.amount_paid, amount_remaining = excluded.amount_remaining,
             attempt_count = excluded.attempt_count, next_attempt_at = excluded.next_attempt_at,
             hosted_url = excluded.hosted_url, pdf_url = excluded.pdf_url, updated_at = $19
         WHERE i.account_id = $2",
        id.0,
        account_id.0,
        it.stripe_invoice_id,
        it.stripe_subscription_id,
        it.number,
        it.status,
        it.total,
        it.amount_due,
        it.amount_paid,
        it.amount_remaining,
        it.currency,
        it.attempt_count,
        it.next_attempt_at,
        it.hosted_url,
        it.pdf_url,
        it.period_start,
        it.period_end,
        it.created_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns whether a fact is new, and stores it.
pub(super) async fn insert_notice(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    fact: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO billing_notices (account_id, fact, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        account_id.0,
        fact,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns whether a fact is stored.
pub(super) async fn is_known(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    fact: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM billing_notices WHERE account_id = $1 AND fact = $2) AS "is_known!""#,
        account_id.0,
        fact,
    )
    .fetch_one(conn)
    .await
}

/// Recipients of emails about billing: the account's user, or owners and billing members of an organisation.
pub(super) async fn list_recipients(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "id!: UserId" FROM accounts WHERE id = $1 AND user_id IS NOT NULL
           UNION ALL
           SELECT user_id FROM memberships WHERE account_id = $1 AND role IN ('owner', 'billing')"#,
        account_id.0,
    )
    .fetch_all(conn)
    .await
}

/// What an email about an invoice shows.
pub(super) struct InvoiceFacts {
    pub number: Option<String>,
    pub amount_due: i64,
    pub amount_paid: i64,
    pub currency: String,
    pub hosted_url: Option<String>,
}

pub(super) async fn find_invoice(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    stripe_invoice_id: &str,
) -> Result<Option<InvoiceFacts>, sqlx::Error> {
    sqlx::query_as!(
        InvoiceFacts,
        "SELECT number, amount_due, amount_paid, currency, hosted_url
         FROM invoices WHERE account_id = $1 AND stripe_invoice_id = $2",
        account_id.0,
        stripe_invoice_id,
    )
    .fetch_optional(conn)
    .await
}

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 3] = [
    OwnedRows::new("checkouts", "account_id"),
    OwnedRows::new("billing_notices", "account_id"),
    OwnedRows::new("billed_usage", "account_id"),
];
