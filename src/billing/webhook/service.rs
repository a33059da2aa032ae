//! Storing an event, and processing those of a customer.

use std::fmt::Write as _;

use crypto::sha256;
use stripe_client::{CallError, Stripe};

use super::envelope::{self, Event};
use super::store;
use crate::billing::error::Error;
use crate::billing::queue::{self, SyncCustomer, SyncEvent};
use crate::billing::sync::{self, Areas};
use crate::ctx::Ctx;
use crate::customers;
use crate::metrics::Webhook;
use crate::payments::{self, PaymentRef};
use crate::scope::{Exception, Scope};
use crate::state::AppState;

/// Events that one job processes; the rest is left to the next.
const AT_ONCE: i64 = 1_000;

/// What an event leads to.
enum Effect {
    /// The customer is read.
    Customer(String),
    /// The customer of the payment is found, and then read.
    Payment,
}

/// Stores an event whose signature is valid.
pub(super) async fn accept(state: &AppState, body: &[u8]) -> Result<(), Error> {
    let event = Event::parse(body).ok_or(Error::NotAnEvent)?;
    // An event without an id is stored once as well.
    let id = event.id.clone();
    let id = id.unwrap_or_else(|| format!("sha256:{}", digest(body)));
    let is_live = state.stripe.as_ref().is_some_and(Stripe::is_live);
    let effect = effect(&event, is_live);
    let is_live = event.is_live.unwrap_or(is_live);
    let now = state.clock.now();
    let is_new = match &effect {
        None => store::insert(&state.db, &id, &event, is_live, body, false, now).await?,
        Some(Effect::Customer(customer)) => {
            let job = queue::sync_job(customer)?;
            store::insert_with_job(&state.db, &id, &event, is_live, body, &job, now).await?
        }
        Some(Effect::Payment) => {
            let mut tx = database::begin(&state.db).await?;
            let is_new = store::insert(&mut *tx, &id, &event, is_live, body, true, now).await?;
            if is_new {
                let job = SyncEvent::of(id.clone());
                job_queue::enqueue(&mut *tx, &job, None).await?;
            }
            tx.commit().await?;
            is_new
        }
    };
    let outcome = match (is_new, effect) {
        (false, _) => Webhook::Repeated,
        (true, Some(_)) => Webhook::Stored,
        (true, None) => Webhook::Ignored,
    };
    outcome.count();
    Ok(())
}

/// Id of an event that has none, in hexadecimal.
fn digest(body: &[u8]) -> String {
    let mut digits = String::with_capacity(64);
    for byte in sha256(body) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// `None` if the event changes nothing here.
fn effect(event: &Event, is_live: bool) -> Option<Effect> {
    envelope::areas(&event.kind)?;
    let id = event.id.as_deref().unwrap_or_default();
    if event.is_live.is_some_and(|live| live != is_live) {
        tracing::warn!(
            event = id,
            "a webhook event of the other mode has no effect"
        );
        return None;
    }
    if event.connected_account.is_some() {
        tracing::warn!(
            event = id,
            "a webhook event of a connected account has no effect"
        );
        return None;
    }
    let names_payment = event.payment_intent.is_some() || event.charge.is_some();
    match &event.customer {
        Some(customer) => Some(Effect::Customer(customer.clone())),
        None => names_payment.then_some(Effect::Payment),
    }
}

impl SyncEvent {
    pub(in crate::billing) async fn run_with(&self, state: &AppState) -> Result<(), Error> {
        find_customer(state, &self.event).await
    }
}

impl SyncCustomer {
    pub(in crate::billing) async fn run_with(&self, state: &AppState) -> Result<(), Error> {
        process(state, &self.customer).await
    }
}

/// Finds the customer of an event that names only a payment, and enqueues its job.
async fn find_customer(state: &AppState, id: &str) -> Result<(), Error> {
    let Some(body) = store::find_waiting(&state.db, id).await? else {
        return Ok(());
    };
    let event = Event::parse(&body).ok_or(Error::NotAnEvent)?;
    let intent = event.payment_intent.as_deref().map(PaymentRef::Intent);
    let payment = intent.or(event.charge.as_deref().map(PaymentRef::Charge));
    let customer = match payment {
        Some(payment) => payments::find_customer_of(state, payment).await?,
        None => None,
    };
    let Some(customer) = customer else {
        tracing::warn!(
            event = id,
            "an event of a payment without a customer is ignored"
        );
        store::mark_processed(&state.db, &[id.to_owned()], state.clock.now()).await?;
        return Ok(());
    };
    let mut tx = database::begin(&state.db).await?;
    store::set_customer(&mut *tx, id, &customer).await?;
    queue::enqueue_sync(&mut *tx, &customer).await?;
    tx.commit().await?;
    Ok(())
}

/// Reads what the waiting events of a customer are about, and stores that.
async fn process(state: &AppState, customer: &str) -> Result<(), Error> {
    let ctx = Ctx::system(state);
    let waiting = store::list_waiting(&state.db, customer, AT_ONCE).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    let account = customers::find_account(&mut *tx, customer).await?;
    tx.commit().await?;
    if let Some(account_id) = account {
        let areas = waiting
            .iter()
            .filter_map(|event| envelope::areas(&event.kind));
        let areas = areas.fold(Areas::default(), Areas::union);
        let is_deleted = waiting.iter().any(|event| event.kind == "customer.deleted");
        match sync::sync(&ctx, account_id, customer, areas).await {
            Err(error) if is_deleted && is_missing(&error) => {}
            result => result?,
        }
        if is_deleted {
            sync::forget_customer(&ctx, account_id, customer).await?;
        }
    } else {
        tracing::warn!(
            customer,
            "events of a customer that no account has are ignored"
        );
    }
    let ids: Vec<_> = waiting.into_iter().map(|event| event.id).collect();
    store::mark_processed(&state.db, &ids, ctx.now()).await?;
    if i64::try_from(ids.len()) == Ok(AT_ONCE) {
        queue::enqueue_sync(&state.db, customer).await?;
    }
    // After a burst of many customers their jobs follow each other without a pause.
    job_queue::wake(&state.db).await?;
    Ok(())
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Customer(customers::Error::Stripe(error)) if CallError::is_missing(error))
}
