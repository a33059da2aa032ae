//! Reading the payments of a customer from Stripe, and storing what was read.

use chrono::{DateTime, Utc};
use stripe_client::core::dispute::ListDispute;
use stripe_client::core::payment_intent::ListPaymentIntent;
use stripe_client::shared::{self, PaymentIntent};
use stripe_client::{CallError, Stripe};

use super::model::{PaymentStatus, ReadPayment};
use super::store::{self, Columns};
use crate::ctx::Tx;
use crate::customers;
use crate::ids::{AccountId, PaymentId};

/// Pages of a hundred payment intents that are read. Older ones are final.
const MAX_PAGES: usize = 5;

/// Payments of a customer, as read from Stripe.
#[derive(Debug, Default)]
pub struct ReadPayments(Vec<ReadPayment>);

impl ReadPayments {
    /// Returns whether the payer's bank asks for authentication.
    #[must_use]
    pub fn requires_action(&self, intent: &str) -> bool {
        let mut all = self.0.iter();
        all.any(|it| it.intent == intent && it.status == PaymentStatus::RequiresAction)
    }
}

/// Reads the newest payment intents of a customer with their charges, and the disputes of those that are disputed.
pub async fn read(stripe: &Stripe, customer: &str) -> Result<ReadPayments, CallError> {
    let mut request = ListPaymentIntent::new()
        .customer(customer)
        .expand(["data.latest_charge".to_owned()])
        .limit(100);
    let mut payments = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = stripe.list::<_, PaymentIntent>(&request).await?;
        report_unreadable("payment intent", &page.unreadable);
        for intent in &page.objects {
            let disputes = read_disputes(stripe, intent).await?;
            let payment = ReadPayment::of(intent, &disputes);
            if payment.is_storable() {
                payments.push(payment);
            } else {
                tracing::warn!(intent = payment.intent, "a payment intent cannot be stored");
            }
        }
        match page.next {
            Some(next) => request = request.starting_after(next),
            None => break,
        }
    }
    Ok(ReadPayments(payments))
}

async fn read_disputes(
    stripe: &Stripe,
    intent: &PaymentIntent,
) -> Result<Vec<shared::Dispute>, CallError> {
    let charge = intent.latest_charge.as_ref();
    let charge = charge.and_then(|charge| charge.as_object());
    if !charge.is_some_and(|charge| charge.disputed) {
        return Ok(Vec::new());
    }
    let request = ListDispute::new()
        .payment_intent(intent.id.as_str())
        .limit(100);
    let page = stripe.list::<_, shared::Dispute>(&request).await?;
    report_unreadable("dispute", &page.unreadable);
    Ok(page.objects)
}

fn report_unreadable(object: &str, ids: &[String]) {
    for id in ids {
        tracing::warn!(object, id, "an object of Stripe cannot be read");
    }
}

/// Stores what was read, in the transaction that has found it to be the newest read (`customers::is_newest_read`), after
/// the invoices and subscriptions.
pub async fn store(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    read: &ReadPayments,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let mut columns = Columns::default();
    for payment in &read.0 {
        let id = PaymentId::new(payment.created_at, &tx.ctx().rng);
        columns.push(payment, id.0);
    }
    if columns.is_empty() {
        return Ok(());
    }
    store::update_read(&mut **tx, account_id, &columns, now).await?;
    match customers::find_payer(&mut **tx, account_id).await? {
        Some(user_id) => {
            store::insert_read(&mut **tx, (account_id, user_id), &columns, now).await?;
        }
        None => {
            tracing::warn!(%account_id, "payments of an account without an owner are not stored");
        }
    }
    Ok(())
}
