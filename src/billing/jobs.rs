//! Jobs: one that stores what is true of a customer, one that ends a second subscription, and those of the schedule.

use std::time::Duration;

use chrono::TimeDelta;
use job_queue::{Expired, Purges};
use sqlx::PgExecutor;
use stripe_client::billing::invoice::ListInvoice;
use stripe_client::core::refund::CreateRefund;
use stripe_client::shared::{Invoice, Refund};
use stripe_client::{CallError, Stripe};

use super::error::Error;
use super::manage::end_now;
use super::sync::{self, Areas};
use super::webhook;
use super::{accounts, reconcile};
use crate::audit::Event;
use crate::ctx::Ctx;
use crate::customers;
use crate::ids::AccountId;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

/// Events that arrive within this time are joined into one read.
const BURST: Duration = Duration::from_secs(1);

/// Queues in which jobs of customers run one at a time. Each is a row for ever, so that there is not one for each
/// customer.
const QUEUES: u32 = 256;

/// How long finished checkouts are kept.
const CHECKOUTS_KEPT: TimeDelta = TimeDelta::days(90);

const OLD_CHECKOUTS: Expired = Expired::new("checkouts", "checkouts", "created_at");
const OLD_EVENTS: Expired = Expired::new("webhook events", "stripe_events", "received_at");

job_queue::payload_jobs! {
    /// Stores what is true of a customer, after webhook events.
    SyncCustomer "billing.sync_customer" { customer: String }

    /// Finds the customer of an event that names only a payment, such as a dispute.
    SyncEvent "billing.sync_event" { event: String }

    /// Ends a second subscription of an account, and refunds what was paid for it.
    EndDuplicate "billing.end_duplicate" { account_id: AccountId, subscription: String }
}

impl SyncCustomer {
    async fn run_with(&self, state: &AppState) -> Result<(), Error> {
        webhook::process(state, &self.customer).await
    }
}

impl SyncEvent {
    async fn run_with(&self, state: &AppState) -> Result<(), Error> {
        webhook::find_customer(state, &self.event).await
    }
}

/// Enqueues a [`SyncCustomer`]: one at a time for a customer, and one for a burst.
pub(super) async fn enqueue_sync(
    conn: impl PgExecutor<'_>,
    customer: &str,
) -> Result<(), sqlx::Error> {
    let job = SyncCustomer::of(customer.to_owned());
    let hash = customer.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let queue = format!("stripe-{}", hash % QUEUES);
    let key = format!("stripe:{customer}");
    job_queue::enqueue_serial(conn, &job, &key, &queue, BURST).await
}

impl EndDuplicate {
    async fn run_with(&self, state: &AppState) -> Result<(), Error> {
        let ctx = Ctx::system(state);
        let stripe = customers::stripe(state)?;
        let id = &self.subscription;
        match end_now(stripe, id, &format!("end-duplicate-{id}")).await {
            Ok(()) => {}
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
        refund(stripe, id).await?;
        let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
        let customer = customers::find(&mut *tx, self.account_id).await?;
        let entry = Event::DuplicateSubscriptionEnded.in_account(self.account_id);
        tx.audit(entry.detail(serde_json::json!({ "subscription": id })))
            .await?;
        tx.commit().await?;
        if let Some(customer) = customer.and_then(|it| it.stripe_customer_id) {
            sync::sync(&ctx, self.account_id, &customer, Areas::ALL).await?;
        }
        Ok(())
    }
}

/// Refunds every payment of a subscription that is not refunded yet.
async fn refund(stripe: &Stripe, subscription: &str) -> Result<(), CallError> {
    let request = ListInvoice::new()
        .subscription(subscription)
        .expand(["data.payments".to_owned()])
        .limit(100);
    let page = stripe.list::<_, Invoice>(&request).await?;
    let invoices = page.objects.iter();
    let paid = invoices
        .filter_map(sync::provided_invoice)
        .filter(|it| it.amount_paid > 0);
    for intent in paid.flat_map(|invoice| invoice.payment_intents) {
        let request = CreateRefund::new().payment_intent(&intent);
        let refunded = stripe.write(&request, &format!("refund-{intent}")).await;
        match refunded.map(|_: Refund| ()) {
            Ok(()) => {}
            Err(error) if error.code() == Some("charge_already_refunded") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

job_queue::jobs! {
    /// Runs every minute: seats, addresses and deletions of accounts follow at Stripe.
    FollowAccounts "billing.follow_accounts" => accounts::follow;
    /// Runs every half hour: reads subscriptions whose renewal, end or payment no event has reported.
    ReconcileStale "billing.reconcile" => reconcile::reconcile_stale;
    /// Runs daily.
    PurgeBilling "billing.purge" => purge;
}

async fn purge(state: &AppState) -> Result<(), job_queue::JobError> {
    let now = state.clock.now();
    let events_before =
        now - TimeDelta::from_std(state.billing.event_retention).unwrap_or(TimeDelta::MAX);
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_expired(OLD_EVENTS, events_before).await;
    purges
        .run_expired(OLD_CHECKOUTS, now - CHECKOUTS_KEPT)
        .await;
    Ok(purges.finish()?)
}
