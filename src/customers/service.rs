//! One customer at Stripe for each account, also when requests race, processes die and responses are lost.

use chrono::{DateTime, TimeDelta, Utc};
use stripe_client::core::customer::{CreateCustomer, ListCustomer};
use stripe_client::shared::Customer as StripeCustomer;
use stripe_client::types::{RangeBoundsTs, RangeQueryTs};
use stripe_client::{CallError, Stripe};

use super::error::Error;
use super::store::{self, Customer};
use crate::ctx::Ctx;
use crate::ids::AccountId;
use crate::scope::Scope;
use crate::state::AppState;

/// Stripe keeps an `Idempotency-Key` for at least 24 hours. A call older than this is settled by reading.
pub const CREATION_KEYS_KEPT: TimeDelta = TimeDelta::hours(23);

/// Difference between Stripe's clock and ours that a search for a customer allows for.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(10);

/// Name in the metadata of objects at Stripe.
const ACCOUNT: &str = "account_id";

/// Client of Stripe, if billing is configured.
pub fn stripe(state: &AppState) -> Result<&Stripe, Error> {
    state.stripe.as_ref().ok_or(Error::NotConfigured)
}

/// Returns the customer of an account, and creates it before the first purchase.
pub async fn ensure(ctx: &Ctx, account_id: AccountId) -> Result<String, Error> {
    let stripe = stripe(ctx)?;
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let mut customer = store::find(&mut *tx, account_id).await?;
    if customer.is_none() {
        let email = store::find_address(&mut *tx, account_id).await?;
        let email = email.ok_or(Error::NotFound)?;
        store::insert(&mut *tx, account_id, &email, ctx.now()).await?;
        customer = store::find(&mut *tx, account_id).await?;
    }
    tx.commit().await?;
    let customer = customer.ok_or(Error::NotFound)?;
    if let Some(id) = customer.stripe_customer_id {
        return Ok(id);
    }
    let id = if ctx.now() - customer.creation_began_at < CREATION_KEYS_KEPT {
        match create(stripe, account_id, &customer).await {
            // Under this key Stripe repeats the error, also if the customer exists.
            Err(error) if error.is_kept() => {
                let began = customer.creation_began_at;
                let Some(id) = search(stripe, account_id, began).await? else {
                    restart(ctx, account_id, began).await?;
                    return Err(error.into());
                };
                id
            }
            created => created?,
        }
    } else {
        settle(ctx, stripe, account_id, customer).await?
    };
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let stored = store::set_customer(&mut *tx, account_id, &id, ctx.now()).await?;
    tx.commit().await?;
    stored.ok_or(Error::NotFound)
}

/// Returns the customer of an account, also one whose creation is not confirmed.
pub async fn locate(ctx: &Ctx, account_id: AccountId) -> Result<Option<String>, Error> {
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let customer = store::find(&mut *tx, account_id).await?;
    tx.commit().await?;
    let Some(customer) = customer else {
        return Ok(None);
    };
    if customer.stripe_customer_id.is_some() {
        return Ok(customer.stripe_customer_id);
    }
    let began = customer.creation_began_at;
    let Some(id) = search(stripe(ctx)?, account_id, began).await? else {
        return Ok(None);
    };
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let stored = store::set_customer(&mut *tx, account_id, &id, ctx.now()).await?;
    tx.commit().await?;
    Ok(stored)
}

async fn create(
    stripe: &Stripe,
    account_id: AccountId,
    customer: &Customer,
) -> Result<String, CallError> {
    let began = customer.creation_began_at;
    let request = CreateCustomer::new()
        .email(&customer.email)
        .metadata([(ACCOUNT.to_owned(), account_id.to_string())]);
    let key = format!("customer-{account_id}-{}", began.timestamp_micros());
    let created: StripeCustomer = stripe.write(&request, &key).await?;
    Ok(created.id.to_string())
}

/// The outcome of a creation a day ago is unknown and its key is forgotten: looks for the customer, and creates one
/// only if there is none.
async fn settle(
    ctx: &Ctx,
    stripe: &Stripe,
    account_id: AccountId,
    customer: Customer,
) -> Result<String, Error> {
    let began = customer.creation_began_at;
    if let Some(id) = search(stripe, account_id, began).await? {
        return Ok(id);
    }
    let customer = restart(ctx, account_id, began).await?;
    match customer.stripe_customer_id {
        Some(id) => Ok(id),
        None => Ok(create(stripe, account_id, &customer).await?),
    }
}

/// Begins the creation again, under another key, unless another request has.
async fn restart(
    ctx: &Ctx,
    account_id: AccountId,
    began: DateTime<Utc>,
) -> Result<Customer, Error> {
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let email = store::find_address(&mut *tx, account_id).await?;
    let email = email.ok_or(Error::NotFound)?;
    store::restart_creation(&mut *tx, account_id, began, &email, ctx.now()).await?;
    let customer = store::find(&mut *tx, account_id).await?;
    tx.commit().await?;
    customer.ok_or(Error::NotFound)
}

/// Finds a customer that was created within the life of the key.
async fn search(
    stripe: &Stripe,
    account_id: AccountId,
    began: DateTime<Utc>,
) -> Result<Option<String>, CallError> {
    let created = RangeQueryTs::Bounds(RangeBoundsTs {
        gt: None,
        gte: Some((began - CLOCK_SKEW).timestamp()),
        lt: None,
        lte: Some((began + TimeDelta::days(1) + CLOCK_SKEW).timestamp()),
    });
    let mut request = ListCustomer::new().created(created).limit(100);
    let wanted = account_id.to_string();
    loop {
        let page = stripe.list::<_, StripeCustomer>(&request).await?;
        let is_it = |customer: &&StripeCustomer| {
            let metadata = customer.metadata.as_ref();
            metadata.and_then(|all| all.get(ACCOUNT)) == Some(&wanted)
        };
        if let Some(customer) = page.objects.iter().find(is_it) {
            return Ok(Some(customer.id.to_string()));
        }
        match page.next {
            Some(next) => request = request.starting_after(next),
            None => return Ok(None),
        }
    }
}
