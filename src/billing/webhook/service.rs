//! Storing an event, and processing those of a customer.

use stripe_client::{CallError, Stripe, body_digest};

use super::envelope::{self, Event};
use super::store;
use crate::billing::error::Error;
use crate::billing::jobs;
use crate::billing::sync::{self, Areas};
use crate::ctx::Ctx;
use crate::customers;
use crate::metrics::Webhook;
use crate::scope::{Exception, Scope};
use crate::state::AppState;

/// Events that one job processes; the rest is left to the next.
const AT_ONCE: i64 = 1_000;

/// Stores an event whose signature is valid.
pub(super) async fn accept(state: &AppState, body: &[u8]) -> Result<(), Error> {
    let event = Event::parse(body).ok_or(Error::NotAnEvent)?;
    // An event without an id is stored once as well.
    let id = event
        .id
        .clone()
        .unwrap_or_else(|| format!("sha256:{}", body_digest(body)));
    let is_live = state.stripe.as_ref().is_some_and(Stripe::is_live);
    let effect = effect(&event, is_live);
    let now = state.clock.now();
    let is_new = match &effect {
        Some(customer) => {
            let mut tx = database::begin(&state.db).await?;
            let is_new = store::insert(&mut *tx, &id, &event, is_live, body, true, now).await?;
            if is_new {
                jobs::enqueue_sync(&mut *tx, customer).await?;
            }
            tx.commit().await?;
            is_new
        }
        None => {
            let is_live = event.is_live.unwrap_or(is_live);
            store::insert(&state.db, &id, &event, is_live, body, false, now).await?
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

/// The customer to read; `None` if the event has no effect.
fn effect(event: &Event, is_live: bool) -> Option<String> {
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
    event.customer.clone()
}

/// Reads what the waiting events of a customer are about, and stores that.
pub(in crate::billing) async fn process(state: &AppState, customer: &str) -> Result<(), Error> {
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
    if ids.len() as i64 == AT_ONCE {
        jobs::enqueue_sync(&state.db, customer).await?;
    }
    Ok(())
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Customer(customers::Error::Stripe(error)) if CallError::is_missing(error))
}
