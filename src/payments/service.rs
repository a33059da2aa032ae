//! Creation of payments, safe to repeat after a crash or a lost response at any step.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use stripe_client::core::charge::RetrieveCharge;
use stripe_client::core::payment_intent::{
    CreatePaymentIntent, CreatePaymentIntentAutomaticPaymentMethods, ListPaymentIntent,
    RetrievePaymentIntent,
};
use stripe_client::shared::PaymentIntent;
use stripe_client::types::{RangeBoundsTs, RangeQueryTs};
use stripe_client::{CallError, Refusal, Stripe};
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use super::model::{CreatedPayment, NewPayment, PAYMENT, PaymentRef, ReadPayment, Requested};
use super::store;
use crate::audit::Event;
use crate::ctx::CallerCtx;
use crate::customers::{self, CREATION_KEYS_KEPT};
use crate::ids::PaymentId;
use crate::scope::{self, Exception, Scope};
use crate::state::AppState;

/// Name in the metadata of a payment intent.
const ACCOUNT: &str = "account_id";

/// Difference between Stripe's clock and ours that a search allows for.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(10);

/// Pages of a hundred payment intents that a search reads.
const MAX_PAGES: usize = 10;

pub(super) async fn create(ctx: &CallerCtx, new: &NewPayment) -> Result<CreatedPayment, Error> {
    new.check(&ctx.payments)?;
    let stripe = customers::stripe(ctx)?;
    let key = ctx.reservation().ok_or(Error::KeyRequired)?.key().hash;
    let Begun {
        mut requested,
        customer,
        mut is_new,
    } = begin(ctx, new, &key).await?;
    let is_old = ctx.now() - requested.created_at >= CREATION_KEYS_KEPT;
    let known = match &requested.stripe_payment_intent_id {
        Some(id) => Some(
            stripe
                .read(&RetrievePaymentIntent::new(id.as_str()))
                .await?,
        ),
        // Stripe has forgotten the key: sent again, it could create a second payment intent.
        None if is_old => search(stripe, &customer, requested.id, requested.created_at).await?,
        None => None,
    };
    let intent = if let Some(intent) = known {
        intent
    } else {
        if is_old {
            requested = replace(ctx, new, &key, requested.id).await?;
            is_new = true;
        }
        Box::pin(create_intent(ctx, stripe, &requested, &customer, is_new)).await?
    };
    finish(ctx, requested.id, intent).await
}

/// A request that is stored, and nothing more.
struct Begun {
    requested: Requested,
    customer: String,
    /// False if an earlier attempt may have reached Stripe.
    is_new: bool,
}

/// Stores the request, or finds it if it was stored before.
async fn begin(ctx: &CallerCtx, new: &NewPayment, key: &[u8; 32]) -> Result<Begun, Error> {
    let account_id = ctx.account_id();
    let mut requested = request(ctx, new);
    let owner = (account_id, ctx.user_id());
    let stored = store::insert_for_customer(&ctx.db, owner, &requested, key).await?;
    if let Some(customer) = stored {
        return Ok(Begun {
            requested,
            customer,
            is_new: true,
        });
    }
    let mut tx = ctx.begin().await?;
    let known = customers::find(&mut *tx, account_id).await?;
    let known = known.and_then(|customer| customer.stripe_customer_id);
    let customer = if let Some(customer) = known {
        customer
    } else {
        tx.commit().await?;
        let customer = customers::ensure(ctx, account_id).await?;
        tx = ctx.begin().await?;
        customer
    };
    let is_new = store::insert(&mut *tx, owner, &requested, key).await?;
    if !is_new {
        let stored = store::find_requested(&mut *tx, owner, key).await?;
        // None if another process has answered the request, whose key it has taken over.
        requested = stored.ok_or_else(unsettled)?;
    }
    tx.commit().await?;
    if !requested.is_for(new) {
        return Err(Error::KeyReused);
    }
    Ok(Begun {
        requested,
        customer,
        is_new,
    })
}

fn request(ctx: &CallerCtx, new: &NewPayment) -> Requested {
    let now = ctx.now();
    Requested::new(PaymentId::new(now, &ctx.rng), new, now)
}

/// Cancels a request that Stripe never got, and stores it again.
async fn replace(
    ctx: &CallerCtx,
    new: &NewPayment,
    key: &[u8; 32],
    former: PaymentId,
) -> Result<Requested, Error> {
    let requested = request(ctx, new);
    let account_id = ctx.account_id();
    let mut tx = ctx.begin().await?;
    store::cancel(&mut *tx, account_id, former, None, ctx.now()).await?;
    let owner = (account_id, ctx.user_id());
    let is_stored = store::insert(&mut *tx, owner, &requested, key).await?;
    tx.commit().await?;
    // False if a read of Stripe has stored the former one meanwhile.
    is_stored.then_some(requested).ok_or_else(unsettled)
}

fn unsettled() -> Error {
    CallError::Unknown("the payment was settled meanwhile").into()
}

async fn create_intent(
    ctx: &CallerCtx,
    stripe: &Stripe,
    requested: &Requested,
    customer: &str,
    is_new: bool,
) -> Result<PaymentIntent, Error> {
    // Leaves time for the reply within the request's deadline.
    let deadline = Instant::now() + ctx.billing.timeout.saturating_mul(3) / 2;
    let key = format!("payment-{}", requested.id);
    let request = intent_request(ctx, requested, customer)?;
    match stripe.write(&request, &key).await {
        Ok(intent) => Ok(intent),
        Err(CallError::Refused(refusal)) => {
            if is_new {
                cancel(ctx, requested.id, &refusal).await?;
            }
            Err(refused(refusal))
        }
        Err(error @ CallError::Unknown(_)) => {
            // Under this key Stripe repeats an error of its own, also if the payment intent exists.
            let search = search(stripe, customer, requested.id, requested.created_at);
            let found = timeout_at(deadline, search).await;
            found
                .ok()
                .and_then(Result::ok)
                .flatten()
                .ok_or_else(|| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn intent_request(
    ctx: &CallerCtx,
    requested: &Requested,
    customer: &str,
) -> Result<CreatePaymentIntent, Error> {
    let currency = stripe_client::parse_currency(&requested.currency);
    let currency = currency.ok_or(Error::NotFound)?;
    let metadata = [
        (PAYMENT.to_owned(), requested.id.to_string()),
        (ACCOUNT.to_owned(), ctx.account_id().to_string()),
    ];
    let mut request = CreatePaymentIntent::new(requested.amount, currency)
        .customer(customer)
        .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods::new(true))
        .metadata(metadata);
    if let Some(description) = &requested.description {
        request = request.description(description.as_str());
    }
    Ok(request)
}

/// Cancels a request that Stripe refuses, so that the next one is sent under a key of its own.
async fn cancel(ctx: &CallerCtx, id: PaymentId, refusal: &Refusal) -> Result<(), Error> {
    let code = refusal.code.as_deref();
    let mut tx = ctx.begin().await?;
    store::cancel(&mut *tx, ctx.account_id(), id, code, ctx.now()).await?;
    Ok(tx.commit().await?)
}

fn refused(refusal: Refusal) -> Error {
    let is_it = |field: &&str| refusal.param.as_deref() == Some(*field);
    match ["amount", "currency"].into_iter().find(is_it) {
        Some(field) => Error::Field {
            field,
            message: "is refused by the payment provider".to_owned(),
        },
        None => CallError::Refused(refusal).into(),
    }
}

/// Stores the payment intent together with the reply, which has its secret.
async fn finish(
    ctx: &CallerCtx,
    id: PaymentId,
    intent: PaymentIntent,
) -> Result<CreatedPayment, Error> {
    let read = ReadPayment::of(&intent, &[]);
    let client_secret = intent.client_secret.ok_or(CallError::Malformed)?;
    let mut tx = ctx.begin().await?;
    let payment = store::answer(
        &mut *tx,
        ctx.account_id(),
        id,
        intent.id.as_str(),
        read.status,
        ctx.now(),
    )
    .await?;
    let payment = payment.ok_or(Error::NotFound)?;
    let detail = json!({
        "payment": id, "amount": payment.amount, "currency": payment.currency,
        "api_key": ctx.credential().api_key_id(),
    });
    tx.audit(Event::PaymentCreated.detail(detail)).await?;
    let created = CreatedPayment {
        payment,
        client_secret,
    };
    tx.commit_created(&created).await?;
    Ok(created)
}

/// Finds the payment intent of a payment among those of the customer.
pub(super) async fn search(
    stripe: &Stripe,
    customer: &str,
    id: PaymentId,
    created_at: DateTime<Utc>,
) -> Result<Option<PaymentIntent>, CallError> {
    let created = RangeQueryTs::Bounds(RangeBoundsTs {
        gt: None,
        gte: Some((created_at - CLOCK_SKEW).timestamp()),
        lt: None,
        lte: None,
    });
    let mut request = ListPaymentIntent::new()
        .customer(customer)
        .created(created)
        .limit(100);
    let wanted = id.to_string();
    for _ in 0..MAX_PAGES {
        let page = stripe.list::<_, PaymentIntent>(&request).await?;
        let is_it = |intent: &PaymentIntent| intent.metadata.get(PAYMENT) == Some(&wanted);
        if let Some(intent) = page.objects.into_iter().find(is_it) {
            return Ok(Some(intent));
        }
        match page.next {
            Some(next) => request = request.starting_after(next),
            None => return Ok(None),
        }
    }
    tracing::error!(payment = %id, "a customer has too many payment intents to find one");
    Err(CallError::Malformed)
}

/// Finds the customer at Stripe of a payment, for events whose object names none: by the row, or else by reading Stripe.
pub async fn find_customer_of(
    state: &AppState,
    payment: PaymentRef<'_>,
) -> Result<Option<String>, Error> {
    let stripe = customers::stripe(state)?;
    let mut tx = scope::begin(&state.db, Scope::Exception(Exception::Job)).await?;
    let account_id = store::find_account(&mut *tx, payment).await?;
    let known = match account_id {
        Some(id) => customers::find(&mut *tx, id).await?,
        None => None,
    };
    tx.commit().await?;
    if let Some(id) = known.and_then(|customer| customer.stripe_customer_id) {
        return Ok(Some(id));
    }
    let read = match payment {
        PaymentRef::Intent(id) => stripe
            .read(&RetrievePaymentIntent::new(id))
            .await
            .map(|intent| intent.customer),
        PaymentRef::Charge(id) => stripe
            .read(&RetrieveCharge::new(id))
            .await
            .map(|charge| charge.customer),
    };
    match read {
        Ok(customer) => Ok(customer.map(|customer| customer.id().to_string())),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
