//! Every statement on `payments`. Each status is written twice, since the release before reads the column `status` and
//! knows fewer.

use chrono::{DateTime, Utc};
use http_toolkit::{PageSize, TimeCursor};
use sqlx::PgExecutor;

use super::model::{Payment, PaymentRef, PaymentStatus, Requested};
use crate::ids::{AccountId, PaymentId, UserId};

mod books;
mod read;

pub use books::{OpenPayments, delete_books, find_open, move_to_books, remove_payer};
pub(super) use read::{Columns, insert_read, update_read};

pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: PaymentId,
) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as!(
        Payment,
        r#"SELECT id AS "id: PaymentId", amount, amount_refunded, currency,
                  coalesce(detailed_status, status) AS "status!: PaymentStatus", description, failure_code,
                  dispute_status, created_at
           FROM payments WHERE account_id = $1 AND id = $2"#,
        account_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Newest first.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    status: Option<PaymentStatus>,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<Payment>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        Payment,
        r#"SELECT id AS "id: PaymentId", amount, amount_refunded, currency,
                  coalesce(detailed_status, status) AS "status!: PaymentStatus", description, failure_code,
                  dispute_status, created_at
           FROM payments
           WHERE account_id = $1
             AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
             AND ($4::text IS NULL OR coalesce(detailed_status, status) = $4)
           ORDER BY created_at DESC, id DESC
           LIMIT $5"#,
        account_id.0,
        created_at,
        id,
        status.map(PaymentStatus::as_str),
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

/// Stores a request; returns false if one with this idempotency key is stored.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    (account_id, user_id): (AccountId, UserId),
    requested: &Requested,
    key_hash: &[u8; 32],
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO payments (id, account_id, user_id, amount, currency, description, request_key_hash, status,
                               detailed_status, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', 'pending', $8, $8)
         ON CONFLICT (account_id, user_id, request_key_hash) WHERE request_key_hash IS NOT NULL DO NOTHING",
        requested.id.0,
        account_id.0,
        user_id.0,
        requested.amount,
        requested.currency,
        requested.description,
        key_hash,
        requested.created_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// As [`insert`], for an account that has a customer at Stripe, whose id it returns. One statement, which names the
/// account for row-level security itself.
pub(super) async fn insert_for_customer(
    conn: impl PgExecutor<'_>,
    (account_id, user_id): (AccountId, UserId),
    requested: &Requested,
    key_hash: &[u8; 32],
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH scope AS MATERIALIZED (SELECT set_config('app.account', $2::uuid::text, true) AS account_id),
         -- The lateral join sets the scope before it reads the table.
         customer AS MATERIALIZED (
             SELECT c.stripe_customer_id
             FROM scope, LATERAL (SELECT stripe_customer_id FROM billing_customers
                                  WHERE account_id = scope.account_id::uuid OFFSET 0) AS c
             WHERE c.stripe_customer_id IS NOT NULL
         )
         INSERT INTO payments (id, account_id, user_id, amount, currency, description, request_key_hash, status,
                               detailed_status, created_at, updated_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, 'pending', 'pending', $8, $8 FROM customer
         ON CONFLICT (account_id, user_id, request_key_hash) WHERE request_key_hash IS NOT NULL DO NOTHING
         RETURNING (SELECT stripe_customer_id FROM customer) AS "id!""#,
        requested.id.0,
        account_id.0,
        user_id.0,
        requested.amount,
        requested.currency,
        requested.description,
        key_hash,
        requested.created_at,
    )
    .fetch_optional(conn)
    .await
}

/// Finds the request with an idempotency key, as long as no reply to it is stored.
pub(super) async fn find_requested(
    conn: impl PgExecutor<'_>,
    (account_id, user_id): (AccountId, UserId),
    key_hash: &[u8; 32],
) -> Result<Option<Requested>, sqlx::Error> {
    sqlx::query_as!(
        Requested,
        r#"SELECT id AS "id: PaymentId", amount, currency, description, stripe_payment_intent_id, created_at
           FROM payments WHERE account_id = $1 AND user_id = $2 AND request_key_hash = $3"#,
        account_id.0,
        user_id.0,
        key_hash,
    )
    .fetch_optional(conn)
    .await
}

/// Stores the payment intent of a request whose reply is stored in the same transaction. One that Stripe has reported
/// meanwhile stays as reported.
pub(super) async fn answer(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: PaymentId,
    intent: &str,
    status: PaymentStatus,
    now: DateTime<Utc>,
) -> Result<Option<Payment>, sqlx::Error> {
    sqlx::query_as!(
        Payment,
        r#"UPDATE payments SET
               stripe_payment_intent_id = coalesce(stripe_payment_intent_id, $3),
               status = CASE WHEN stripe_payment_intent_id IS NULL THEN $4 ELSE status END,
               detailed_status = CASE WHEN stripe_payment_intent_id IS NULL THEN $5 ELSE detailed_status END,
               request_key_hash = NULL, updated_at = $6
           WHERE account_id = $1 AND id = $2
           RETURNING id AS "id: PaymentId", amount, amount_refunded, currency,
                     coalesce(detailed_status, status) AS "status!: PaymentStatus", description, failure_code,
                     dispute_status, created_at"#,
        account_id.0,
        id.0,
        intent,
        status.legacy(),
        status.as_str(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Stores the payment intent of a request that is not answered. Does nothing if Stripe has reported it meanwhile.
pub(super) async fn link(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: PaymentId,
    intent: &str,
    status: PaymentStatus,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE payments SET stripe_payment_intent_id = $3, status = $4, detailed_status = $5, updated_at = $6
         WHERE account_id = $1 AND id = $2 AND stripe_payment_intent_id IS NULL",
        account_id.0,
        id.0,
        intent,
        status.legacy(),
        status.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Cancels a request without a payment intent, and releases its idempotency key.
pub(super) async fn cancel(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: PaymentId,
    failure_code: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE payments SET status = $3, detailed_status = $4, failure_code = $5, request_key_hash = NULL,
                updated_at = $6
         WHERE account_id = $1 AND id = $2 AND stripe_payment_intent_id IS NULL",
        account_id.0,
        id.0,
        PaymentStatus::Canceled.legacy(),
        PaymentStatus::Canceled.as_str(),
        failure_code,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Request without a payment intent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) id: PaymentId,
    pub(super) account_id: AccountId,
    pub(super) created_at: DateTime<Utc>,
}

/// Requests of all accounts without a payment intent, oldest first.
pub(super) async fn list_pending(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    after: Option<Pending>,
    limit: i64,
) -> Result<Vec<Pending>, sqlx::Error> {
    let (created_at, id) = after.map(|last| (last.created_at, last.id.0)).unzip();
    sqlx::query_as!(
        Pending,
        r#"SELECT id AS "id: PaymentId", account_id AS "account_id!: AccountId", created_at
           FROM payments
           WHERE detailed_status = 'pending' AND stripe_payment_intent_id IS NULL AND created_at < $1
             AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
           ORDER BY created_at, id
           LIMIT $4"#,
        before,
        created_at,
        id,
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn find_account(
    conn: impl PgExecutor<'_>,
    payment: PaymentRef<'_>,
) -> Result<Option<AccountId>, sqlx::Error> {
    let (intent, charge) = match payment {
        PaymentRef::Intent(id) => (Some(id), None),
        PaymentRef::Charge(id) => (None, Some(id)),
    };
    sqlx::query_scalar!(
        r#"SELECT account_id AS "id!: AccountId" FROM payments
           WHERE stripe_payment_intent_id = $1 OR stripe_charge_id = $2"#,
        intent,
        charge,
    )
    .fetch_optional(conn)
    .await
}
