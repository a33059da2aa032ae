//! Settles payments whose creation at Stripe is not confirmed.

use chrono::TimeDelta;
use stripe_client::{CallError, Stripe};

use super::error::Error;
use super::model::ReadPayment;
use super::service::search;
use super::store::{self, Pending};
use crate::customers::{self, CREATION_KEYS_KEPT};
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

/// Age of a request that its client no longer repeats.
const SETTLED_AFTER: TimeDelta = TimeDelta::hours(1);

/// Beyond the time within which a repeated request is sent to Stripe.
const CALL_MARGIN: TimeDelta = TimeDelta::hours(1);

const BATCH: i64 = 100;

#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error(transparent)]
    Payment(#[from] Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

job_queue::jobs! {
    /// Runs daily: reads from Stripe what became of pending payments. One that Stripe does not have is canceled once
    /// its key has expired.
    SettlePayments "payments.settle" => settle;
}

async fn settle(state: &AppState) -> Result<(), JobError> {
    let Some(stripe) = &state.stripe else {
        return Ok(());
    };
    let before = state.clock.now() - SETTLED_AFTER;
    let mut last = None;
    loop {
        let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
        let pending = store::list_pending(&mut *tx, before, last, BATCH).await?;
        tx.commit().await?;
        for payment in &pending {
            match settle_one(state, stripe, *payment).await {
                Err(Error::Customer(customers::Error::Stripe(error))) if !is_about_one(&error) => {
                    return Err(Error::from(error).into());
                }
                Err(error) => {
                    let id = payment.id;
                    tracing::warn!(payment = %id, %error, "a payment stays pending until the next run");
                }
                Ok(()) => {}
            }
        }
        last = pending.last().copied();
        if last.is_none() {
            return Ok(());
        }
    }
}

/// Whether other payments can be settled nevertheless.
const fn is_about_one(error: &CallError) -> bool {
    matches!(error, CallError::Refused(_) | CallError::Malformed)
}

async fn settle_one(state: &AppState, stripe: &Stripe, payment: Pending) -> Result<(), Error> {
    let Pending {
        id,
        account_id,
        created_at,
    } = payment;
    let scope = Scope::Account(account_id);
    let now = state.clock.now();
    let mut tx = scope::begin(&state.db, scope).await?;
    let customer = customers::find(&mut *tx, account_id).await?;
    tx.commit().await?;
    let customer = customer.and_then(|customer| customer.stripe_customer_id);
    let found = match customer {
        Some(customer) => search(stripe, &customer, id, created_at).await?,
        None => None,
    };
    let mut tx = scope::begin(&state.db, scope).await?;
    match found {
        Some(intent) => {
            let read = ReadPayment::of(&intent, &[]);
            store::link(&mut *tx, account_id, id, &read.intent, read.status, now).await?;
        }
        None if created_at < now - CREATION_KEYS_KEPT - CALL_MARGIN => {
            store::cancel(&mut *tx, account_id, id, None, now).await?;
        }
        None => {}
    }
    tx.commit().await?;
    Ok(())
}
