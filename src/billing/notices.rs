//! Emails about billing, each sent once for a fact: not for an event, which can come twice under two ids.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::model::ProvidedInvoice;
use super::money;
use super::store;
use crate::ctx::Tx;
use crate::ids::{AccountId, UserId};
use crate::mail::{self, EmailMessage, email_jobs};
use crate::plans::{Plan, ProvidedSubscription, SubscriptionStatus, list_subscriptions};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;
use crate::users;

/// Older facts cause no email: they were found by a reconciliation or when a database was restored.
const RECENT: TimeDelta = TimeDelta::days(3);

/// Stripe announces the end of a trial three days before; a trial that is shorter at once.
const BEFORE_TRIAL_END: TimeDelta = TimeDelta::hours(73);

/// Fact that an email is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Of an invoice and an attempt.
    PaymentFailed,
    /// Of an invoice and an attempt.
    AuthenticationNeeded,
    /// Of an invoice.
    Receipt,
    /// Of a subscription and the end of its trial.
    TrialEnding,
    /// Of a subscription.
    Ended,
    /// Of a subscription that was bought beside another one.
    DuplicateEnded,
}

impl Fact {
    /// Name in the template, and in `billing_notices`.
    const fn name(self) -> &'static str {
        match self {
            Self::PaymentFailed => "payment_failed",
            Self::AuthenticationNeeded => "authentication_needed",
            Self::Receipt => "receipt",
            Self::TrialEnding => "trial_ending",
            Self::Ended => "ended",
            Self::DuplicateEnded => "duplicate_ended",
        }
    }
}

email_jobs! {
    /// To one member who manages billing. `object` is the invoice or the subscription.
    NotifyBilling "billing.notify" {
        user_id: UserId,
        account_id: AccountId,
        fact: Fact,
        object: String
    }
}

impl NotifyBilling {
    async fn send(&self, state: &AppState) -> Result<(), mail::JobError> {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let recipient = users::find_own_credentials(&mut *tx, self.user_id).await?;
        let invoice = store::find_invoice(&mut *tx, self.account_id, &self.object).await?;
        let subscriptions = list_subscriptions(&mut *tx, self.account_id, true).await?;
        tx.commit().await?;
        let Some(recipient) = recipient else {
            return Ok(());
        };
        let is_it = |id: &Option<String>| id.as_deref() == Some(&self.object);
        let subscription = subscriptions
            .iter()
            .find(|it| is_it(&it.stripe_subscription_id));
        let amount = invoice.as_ref().map(|invoice| {
            let amount = match self.fact {
                Fact::Receipt => invoice.amount_paid,
                _ => invoice.amount_due,
            };
            money::format(amount, &invoice.currency)
        });
        let message = EmailMessage::BillingNotice {
            fact: self.fact.name(),
            plan: subscription.and_then(|it| it.plan).map(Plan::name),
            number: invoice.as_ref().and_then(|invoice| invoice.number.clone()),
            amount,
            link: invoice.and_then(|invoice| invoice.hosted_url),
            trial_ends_on: subscription
                .and_then(|it| it.trial_end)
                .map(|end| end.format("%-d %B %Y").to_string()),
        };
        Ok(mail::send(state, recipient.email.as_str(), &message).await?)
    }
}

/// Enqueues the emails about a fact, unless it is known. Returns whether it is new.
pub(super) async fn notify(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    fact: Fact,
    object: &str,
    detail: Option<i64>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let name = name(fact, object, detail);
    if !store::insert_notice(&mut **tx, account_id, &name, now).await? {
        return Ok(false);
    }
    for user_id in store::list_recipients(&mut **tx, account_id).await? {
        let job = NotifyBilling::to(user_id, account_id, fact, object.to_owned());
        job_queue::enqueue(&mut **tx, &job, None).await?;
    }
    Ok(true)
}

/// Receipts and failed payments.
pub(super) async fn notify_of_invoice(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    invoice: &ProvidedInvoice,
    needs_authentication: bool,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let id = &invoice.stripe_invoice_id;
    let is_recent = |time: DateTime<Utc>| now - time < RECENT;
    match invoice.status {
        "paid" if invoice.amount_paid > 0 && invoice.paid_at.is_some_and(is_recent) => {
            notify(tx, account_id, Fact::Receipt, id, None, now).await?;
        }
        "open" if invoice.attempt_count > 0 && invoice.amount_remaining > 0 => {
            let fact = if needs_authentication {
                Fact::AuthenticationNeeded
            } else {
                Fact::PaymentFailed
            };
            notify(tx, account_id, fact, id, Some(invoice.attempt_count), now).await?;
        }
        _ => {}
    }
    Ok(())
}

/// The end of a trial, and of a subscription.
pub(super) async fn notify_of_subscription(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    subscription: &ProvidedSubscription,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let it = subscription;
    let id = &it.stripe_subscription_id;
    let is_canceled = it.cancel_at_period_end || it.cancel_at.is_some();
    if it.status == SubscriptionStatus::Trialing
        && !is_canceled
        && let Some(end) = it.trial_end
        && end - now < BEFORE_TRIAL_END
    {
        notify(
            tx,
            account_id,
            Fact::TrialEnding,
            id,
            Some(end.timestamp()),
            now,
        )
        .await?;
    }
    if it.status == SubscriptionStatus::Canceled
        && it.ended_at.is_some_and(|ended| now - ended < RECENT)
        && !store::is_known(&mut **tx, account_id, &name(Fact::DuplicateEnded, id, None)).await?
    {
        notify(tx, account_id, Fact::Ended, id, None, now).await?;
    }
    Ok(())
}

/// Name in `billing_notices`. `detail` separates facts of one object apart.
fn name(fact: Fact, object: &str, detail: Option<i64>) -> String {
    match detail {
        Some(detail) => format!("{}:{object}:{detail}", fact.name()),
        None => format!("{}:{object}", fact.name()),
    }
}
