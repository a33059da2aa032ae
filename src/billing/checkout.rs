//! Checkout: one at a time for each account, which can be repeated after a crash or a lost response.

use std::collections::HashMap;

use chrono::TimeDelta;
use stripe_client::checkout::checkout_session as session;
use stripe_client::checkout::checkout_session::{CreateCheckoutSession, ExpireCheckoutSession};
use stripe_client::shared::{
    CheckoutSession, CheckoutSessionId, CheckoutSessionMode, CheckoutSessionStatus,
};
use stripe_client::{CallError, Stripe};

use super::error::Error;
use super::model::{Checkout, CheckoutTerms, NewCheckout, RETURN_PATH, return_page};
use super::subscriptions::CHECKOUT;
use super::sync::{self, Areas};
use super::{manage, store};
use crate::audit::Event;
use crate::ctx::{CallerCtx, Ctx};
use crate::customers::{self, CREATION_KEYS_KEPT};
use crate::ids::{AccountId, CheckoutId};
use crate::plans::{self, Plan};

/// Checkouts that one request ends, or customers that it finds deleted, before it begins one.
const ATTEMPTS: u32 = 5;

/// Begins a checkout, or returns to the one that is open and sells the same. Returns the address of its page.
pub(super) async fn start(ctx: &CallerCtx, wanted: NewCheckout) -> Result<String, Error> {
    let stripe = customers::stripe(ctx)?;
    let account_id = ctx.account_id();
    let tier = wanted.plan.tier(&ctx.plans);
    if tier.price_id.is_none() && tier.year.is_none() {
        return Err(Error::NotForSale { field: "plan" });
    }
    let price = wanted.plan.price_id(wanted.interval, &ctx.plans);
    let price = price.ok_or(Error::NotForSale { field: "interval" })?;
    for _ in 0..ATTEMPTS {
        let customer = customers::ensure(ctx, account_id).await?;
        let (checkout, is_over) = match begin(ctx, price.as_str(), &customer).await? {
            Begun::New(checkout) => (checkout, false),
            Begun::Same(checkout) => match (&checkout.stripe_session_id, &checkout.url) {
                (Some(id), Some(url)) if is_open(stripe, id).await? => return Ok(url.clone()),
                (Some(_), Some(_)) => (checkout, true),
                _ => (checkout, false),
            },
            Begun::Other(checkout) => (checkout, true),
        };
        if is_over {
            Box::pin(end(ctx, stripe, &customer, &checkout)).await?;
            continue;
        }
        match Box::pin(create(ctx, stripe, &customer, &checkout)).await {
            Err(Error::Customer(customers::Error::Stripe(error)))
                if error.is_missing_param("customer")
                    && sync::forget_customer(ctx, account_id, &customer).await? => {}
            created => return created,
        }
    }
    Err(Error::InProgress)
}

async fn is_open(stripe: &Stripe, id: &str) -> Result<bool, CallError> {
    let request = session::RetrieveCheckoutSession::new(CheckoutSessionId::from(id));
    match stripe.read(&request).await {
        Ok(CheckoutSession { status, .. }) => Ok(status == Some(CheckoutSessionStatus::Open)),
        // The key is that of another account at Stripe now.
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}

enum Begun {
    New(Checkout),
    /// An unfinished one sells the same.
    Same(Checkout),
    /// An unfinished one must be ended first.
    Other(Checkout),
}

/// Of two requests at once one begins a checkout, and the other one finds it.
async fn begin(ctx: &CallerCtx, price: &str, customer: &str) -> Result<Begun, Error> {
    let (account_id, now) = (ctx.account_id(), ctx.now());
    let mut tx = ctx.begin().await?;
    let locked = customers::lock(&mut *tx, account_id).await?;
    let locked = locked.filter(|it| it.stripe_customer_id.as_deref() == Some(customer));
    let locked = locked.ok_or(Error::InProgress)?;
    let subscriptions = plans::list_subscriptions(&mut *tx, account_id, false).await?;
    if subscriptions.iter().any(manage::is_running) {
        return Err(Error::AlreadySubscribed);
    }
    let has_trial = locked.trial_used_at.is_none() && subscriptions.is_empty();
    let trial_days = if has_trial { ctx.billing.trial_days } else { 0 };
    let terms = CheckoutTerms {
        user_id: ctx.user_id(),
        stripe_price_id: price.to_owned(),
        quantity: store::count_seats(&mut *tx, account_id).await?,
        trial_days: trial_days.try_into().unwrap_or(i32::MAX),
    };
    if let Some(open) = store::find_open_checkout(&mut *tx, account_id).await? {
        tx.commit().await?;
        let is_recent = now - open.created_at < CREATION_KEYS_KEPT;
        let is_same = is_recent && terms.fit(&open);
        return Ok(if is_same {
            Begun::Same(open)
        } else {
            Begun::Other(open)
        });
    }
    let id = CheckoutId::new(now, &ctx.rng);
    store::insert_checkout(&mut *tx, id, account_id, &terms, now).await?;
    let detail = serde_json::json!({ "price": price, "quantity": terms.quantity });
    tx.audit(Event::CheckoutStarted.detail(detail)).await?;
    tx.commit().await?;
    Ok(Begun::New(Checkout {
        id,
        stripe_price_id: terms.stripe_price_id,
        quantity: terms.quantity,
        trial_days: terms.trial_days,
        stripe_session_id: None,
        url: None,
        created_at: now,
    }))
}

/// Creates the session at Stripe under the key of the checkout, or gets it again.
async fn create(
    ctx: &CallerCtx,
    stripe: &Stripe,
    customer: &str,
    checkout: &Checkout,
) -> Result<String, Error> {
    let key = format!("checkout-{}", checkout.id);
    let request = request(ctx, customer, checkout);
    let account_id = ctx.account_id();
    let created: CheckoutSession = match stripe.write(&request, &key).await {
        Ok(created) => created,
        // Under this key Stripe repeats the error, also if the session exists.
        Err(error) if error.is_kept() => match find(stripe, customer, checkout.id).await? {
            Some(found) if found.url.is_some() => found,
            _ => {
                expire_row(ctx, checkout).await?;
                return Err(error.into());
            }
        },
        Err(error) => return Err(error.into()),
    };
    let url = created.url.ok_or(CallError::Malformed)?;
    let mut tx = ctx.begin().await?;
    let is_opened = store::open_checkout(
        &mut *tx,
        account_id,
        checkout.id,
        created.id.as_str(),
        &url,
        ctx.now(),
    )
    .await?;
    tx.commit().await?;
    if !is_opened {
        // A checkout of another plan, at the same time, has found no session to expire.
        expire(stripe, created.id.as_str()).await?;
        return Err(Error::InProgress);
    }
    Ok(url)
}

fn request(ctx: &Ctx, customer: &str, checkout: &Checkout) -> CreateCheckoutSession {
    let config = &ctx.billing;
    let metadata = HashMap::from([(CHECKOUT.to_owned(), checkout.id.to_string())]);
    let mut item = session::CreateCheckoutSessionLineItems::new();
    item.price = Some(checkout.stripe_price_id.clone());
    item.quantity = checkout.quantity.try_into().ok();
    let mut items = vec![item];
    let plan = Plan::of_price(&checkout.stripe_price_id, &ctx.plans);
    let usage_price = plan.and_then(|plan| plan.tier(&ctx.plans).usage_price_id.as_ref());
    if let Some(price) = usage_price {
        // Without a quantity, which the meter has.
        let mut usage = session::CreateCheckoutSessionLineItems::new();
        usage.price = Some(price.as_str().to_owned());
        items.push(usage);
    }
    let mut subscription = session::CreateCheckoutSessionSubscriptionData::new();
    subscription.metadata = Some(metadata.clone());
    subscription.trial_period_days = u32::try_from(checkout.trial_days)
        .ok()
        .filter(|days| *days > 0);
    let mut request = CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Subscription)
        .customer(customer)
        .line_items(items)
        .metadata(metadata)
        .allow_promotion_codes(config.promotion_codes)
        .success_url(return_page(
            &config.public_url,
            &format!("{RETURN_PATH}?session_id={{CHECKOUT_SESSION_ID}}"),
        ))
        .cancel_url(return_page(&config.public_url, RETURN_PATH));
    if subscription.trial_period_days.is_some() && !config.trial_needs_card {
        use session::CreateCheckoutSessionSubscriptionDataTrialSettings as TrialSettings;
        use session::CreateCheckoutSessionSubscriptionDataTrialSettingsEndBehavior as EndBehavior;
        use session::CreateCheckoutSessionSubscriptionDataTrialSettingsEndBehaviorMissingPaymentMethod as Missing;
        subscription.trial_settings = Some(TrialSettings::new(EndBehavior::new(Missing::Pause)));
        request = request.payment_method_collection(
            session::CreateCheckoutSessionPaymentMethodCollection::IfRequired,
        );
    }
    if config.automatic_tax {
        let mut update = session::CreateCheckoutSessionCustomerUpdate::new();
        update.address = Some(session::CreateCheckoutSessionCustomerUpdateAddress::Auto);
        update.name = Some(session::CreateCheckoutSessionCustomerUpdateName::Auto);
        request = request
            .automatic_tax(session::CreateCheckoutSessionAutomaticTax::new(true))
            .tax_id_collection(session::CreateCheckoutSessionTaxIdCollection::new(true))
            .customer_update(update);
    }
    request.subscription_data(subscription)
}

/// Ends a checkout that sells something else, or is too old to be repeated. One that was paid becomes a subscription.
async fn end(
    ctx: &CallerCtx,
    stripe: &Stripe,
    customer: &str,
    checkout: &Checkout,
) -> Result<(), Error> {
    let account_id = ctx.account_id();
    let is_expired = ctx.now() - checkout.created_at > TimeDelta::hours(25);
    let session = match &checkout.stripe_session_id {
        Some(id) => Some(expire(stripe, id).await?),
        None => Box::pin(expire_unknown(stripe, customer, checkout.id, is_expired)).await?,
    };
    if session == Some(CheckoutSessionStatus::Complete) {
        sync::sync(ctx, account_id, customer, Areas::SUBSCRIPTIONS).await?;
        let mut tx = ctx.begin().await?;
        store::complete_checkout(&mut *tx, account_id, checkout.id, ctx.now()).await?;
        return Ok(tx.commit().await?);
    }
    expire_row(ctx, checkout).await
}

async fn expire_row(ctx: &CallerCtx, checkout: &Checkout) -> Result<(), Error> {
    let mut tx = ctx.begin().await?;
    store::expire_checkout(&mut *tx, ctx.account_id(), checkout, ctx.now()).await?;
    Ok(tx.commit().await?)
}

/// Expires a session; returns what it has become.
async fn expire(stripe: &Stripe, id: &str) -> Result<CheckoutSessionStatus, CallError> {
    let session = CheckoutSessionId::from(id);
    let key = format!("expire-{id}");
    match stripe
        .write(&ExpireCheckoutSession::new(session.clone()), &key)
        .await
    {
        Ok(CheckoutSession { .. }) => Ok(CheckoutSessionStatus::Expired),
        Err(error) if error.is_missing() => Ok(CheckoutSessionStatus::Expired),
        // It is complete or expired.
        Err(CallError::Refused(_)) => {
            let request = session::RetrieveCheckoutSession::new(session);
            let found: CheckoutSession = stripe.read(&request).await?;
            Ok(found.status.unwrap_or(CheckoutSessionStatus::Expired))
        }
        Err(error) => Err(error),
    }
}

/// The creation of the session may have had its effect: looks for it at Stripe.
async fn expire_unknown(
    stripe: &Stripe,
    customer: &str,
    checkout: CheckoutId,
    is_expired: bool,
) -> Result<Option<CheckoutSessionStatus>, Error> {
    if is_expired {
        // A session lives for a day, and nobody was given the address of this one.
        return Ok(None);
    }
    match find(stripe, customer, checkout).await? {
        Some(session) => Ok(Some(expire(stripe, session.id.as_str()).await?)),
        None => Ok(None),
    }
}

/// Finds the session of a checkout at Stripe.
async fn find(
    stripe: &Stripe,
    customer: &str,
    checkout: CheckoutId,
) -> Result<Option<CheckoutSession>, CallError> {
    let request = session::ListCheckoutSession::new()
        .customer(customer)
        .limit(100);
    let page = stripe.list::<_, CheckoutSession>(&request).await?;
    let wanted = checkout.to_string();
    let mut all = page.objects.into_iter();
    Ok(all.find(|session| {
        let metadata = session.metadata.as_ref();
        metadata.and_then(|all| all.get(CHECKOUT)) == Some(&wanted)
    }))
}

/// After the return from a checkout: stores what was bought, also if no webhook came. Returns whether a subscription is
/// running.
pub(super) async fn complete(ctx: &Ctx, account_id: AccountId) -> Result<bool, Error> {
    let customer = manage::customer(ctx, account_id).await?;
    if let Err(error) = sync::sync(ctx, account_id, &customer, Areas::SUBSCRIPTIONS).await {
        tracing::warn!(%error, "what was bought is stored when the webhook comes");
    }
    let subscriptions = manage::list(ctx, account_id).await?;
    Ok(subscriptions.iter().any(manage::is_running))
}
