//! Statements that store what was read from Stripe.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::ids::{AccountId, UserId};
use crate::payments::model::ReadPayment;

/// Payments of one account as read, as arrays for `unnest`.
#[derive(Debug, Default)]
pub(in crate::payments) struct Columns {
    intents: Vec<String>,
    payment_ids: Vec<Option<Uuid>>,
    charges: Vec<Option<String>>,
    invoices: Vec<Option<String>>,
    amounts: Vec<i64>,
    amounts_refunded: Vec<i64>,
    currencies: Vec<String>,
    statuses: Vec<String>,
    detailed_statuses: Vec<String>,
    descriptions: Vec<Option<String>>,
    failure_codes: Vec<Option<String>>,
    dispute_statuses: Vec<Option<String>>,
    times: Vec<DateTime<Utc>>,
    /// Ids of rows that are to be inserted.
    new_ids: Vec<Uuid>,
}

impl Columns {
    pub(in crate::payments) fn push(&mut self, read: &ReadPayment, new_id: Uuid) {
        self.intents.push(read.intent.clone());
        self.payment_ids.push(read.payment_id.map(|id| id.0));
        self.charges.push(read.charge.clone());
        self.invoices.push(read.invoice.clone());
        self.amounts.push(read.amount);
        self.amounts_refunded.push(read.amount_refunded);
        self.currencies.push(read.currency.clone());
        self.statuses.push(read.status.legacy().to_owned());
        self.detailed_statuses.push(read.status.as_str().to_owned());
        self.descriptions.push(read.description.clone());
        self.failure_codes.push(read.failure_code.clone());
        self.dispute_statuses.push(read.dispute_status.clone());
        self.times.push(read.created_at);
        self.new_ids.push(new_id);
    }

    pub(in crate::payments) const fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }
}

/// Updates the rows of payments that are stored: by their payment intent, or, without one, by the id in its metadata or
/// by its charge.
pub(in crate::payments) async fn update_read(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    read: &Columns,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE payments AS p SET
             stripe_payment_intent_id = g.intent,
             stripe_charge_id = coalesce(g.charge, p.stripe_charge_id),
             stripe_invoice_id = coalesce(g.invoice, p.stripe_invoice_id),
             subscription_id = coalesce(g.subscription_id, p.subscription_id),
             amount = g.amount, amount_refunded = g.amount_refunded, currency = g.currency, status = g.status,
             detailed_status = g.detailed_status, description = g.description, failure_code = g.failure_code,
             dispute_status = g.dispute_status, updated_at = $14
         FROM (
             SELECT g.*, (
                 SELECT s.id FROM invoices AS i JOIN subscriptions AS s USING (stripe_subscription_id)
                 WHERE i.stripe_invoice_id = g.invoice AND i.account_id = $1 AND s.account_id = $1
             ) AS subscription_id
             FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::int8[], $7::int8[], $8::text[], $9::text[],
                         $10::text[], $11::text[], $12::text[], $13::text[])
                 AS g (intent, payment_id, charge, invoice, amount, amount_refunded, currency, status, detailed_status,
                       description, failure_code, dispute_status)
         ) AS g
         WHERE p.account_id = $1
           AND (p.stripe_payment_intent_id = g.intent
                OR (p.stripe_payment_intent_id IS NULL AND (p.id = g.payment_id OR p.stripe_charge_id = g.charge)
                    AND NOT EXISTS (SELECT FROM payments AS o WHERE o.stripe_payment_intent_id = g.intent)))
           AND (p.stripe_payment_intent_id, p.stripe_charge_id, p.stripe_invoice_id, p.subscription_id, p.amount,
                p.amount_refunded, p.currency, p.status, p.detailed_status, p.description, p.failure_code,
                p.dispute_status)
               IS DISTINCT FROM
               (g.intent, coalesce(g.charge, p.stripe_charge_id), coalesce(g.invoice, p.stripe_invoice_id),
                coalesce(g.subscription_id, p.subscription_id), g.amount, g.amount_refunded, g.currency::bpchar, g.status,
                g.detailed_status, g.description, g.failure_code, g.dispute_status)",
        account_id.0,
        &read.intents,
        &read.payment_ids as &[Option<Uuid>],
        &read.charges as &[Option<String>],
        &read.invoices as &[Option<String>],
        &read.amounts,
        &read.amounts_refunded,
        &read.currencies,
        &read.statuses,
        &read.detailed_statuses,
        &read.descriptions as &[Option<String>],
        &read.failure_codes as &[Option<String>],
        &read.dispute_statuses as &[Option<String>],
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Inserts the payments that are not stored, such as those of invoices.
pub(in crate::payments) async fn insert_read(
    conn: impl PgExecutor<'_>,
    (account_id, user_id): (AccountId, UserId),
    read: &Columns,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO payments (id, account_id, user_id, subscription_id, stripe_payment_intent_id, stripe_charge_id,
                               stripe_invoice_id, amount, amount_refunded, currency, status, detailed_status,
                               description, failure_code, dispute_status, created_at, updated_at)
         SELECT g.new_id, $1, $2, (
                    SELECT s.id FROM invoices AS i JOIN subscriptions AS s USING (stripe_subscription_id)
                    WHERE i.stripe_invoice_id = g.invoice AND i.account_id = $1 AND s.account_id = $1
                ),
                g.intent, g.charge, g.invoice, g.amount, g.amount_refunded, g.currency, g.status, g.detailed_status,
                g.description, g.failure_code, g.dispute_status, g.created_at, $16
         FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::text[], $10::text[],
                     $11::text[], $12::text[], $13::text[], $14::text[], $15::timestamptz[])
             AS g (new_id, intent, charge, invoice, amount, amount_refunded, currency, status, detailed_status,
                   description, failure_code, dispute_status, created_at)
         WHERE NOT EXISTS (SELECT FROM payments AS p WHERE p.stripe_payment_intent_id = g.intent)
         ON CONFLICT DO NOTHING",
        account_id.0,
        user_id.0,
        &read.new_ids,
        &read.intents,
        &read.charges as &[Option<String>],
        &read.invoices as &[Option<String>],
        &read.amounts,
        &read.amounts_refunded,
        &read.currencies,
        &read.statuses,
        &read.detailed_statuses,
        &read.descriptions as &[Option<String>],
        &read.failure_codes as &[Option<String>],
        &read.dispute_statuses as &[Option<String>],
        &read.times,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
