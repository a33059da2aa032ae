//! The running subscription: portal, cancellation, resumption.

use stripe_client::billing::BillingPortalSession;
use stripe_client::billing::billing_portal_session::CreateBillingPortalSession;
use stripe_client::billing::subscription::{CancelSubscription, UpdateSubscription};
use stripe_client::shared::{Subscription, SubscriptionId};
use stripe_client::{CallError, PostForm, Stripe};

use super::error::Error;
use super::model::{RETURN_PATH, return_page};
use super::sync::{self, Areas};
use crate::audit::Event;
use crate::ctx::{CallerCtx, Ctx};
use crate::customers;
use crate::ids::AccountId;
use crate::plans::{self, StoredSubscription};
use crate::scope::Scope;

/// Returns whether a subscription has not ended, paid or not.
pub(super) fn is_running(subscription: &StoredSubscription) -> bool {
    !subscription.status.has_ended()
}

/// Returns whether a subscription ends by itself.
fn is_canceled(subscription: &StoredSubscription) -> bool {
    subscription.cancel_at_period_end || subscription.cancel_at.is_some()
}

/// Customer of an account that has bought something.
pub(super) async fn customer(ctx: &Ctx, account_id: AccountId) -> Result<String, Error> {
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let customer = customers::find(&mut *tx, account_id).await?;
    tx.commit().await?;
    let id = customer.and_then(|customer| customer.stripe_customer_id);
    id.ok_or(Error::NothingToManage)
}

pub(super) async fn list(
    ctx: &Ctx,
    account_id: AccountId,
) -> Result<Vec<StoredSubscription>, Error> {
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let all = plans::list_subscriptions(&mut *tx, account_id, false).await?;
    tx.commit().await?;
    Ok(all)
}

/// Opens the customer portal; returns the address of its page.
pub(super) async fn open_portal(ctx: &CallerCtx) -> Result<String, Error> {
    let stripe = customers::stripe(ctx)?;
    let customer = customer(ctx, ctx.account_id()).await?;
    let config = &ctx.billing;
    let return_url = config.return_url.as_ref().map_or_else(
        || return_page(&config.public_url, RETURN_PATH),
        ToString::to_string,
    );
    let mut request = CreateBillingPortalSession::new()
        .customer(customer)
        .return_url(return_url);
    if let Some(configuration) = &config.portal_configuration {
        request = request.configuration(configuration);
    }
    let opened: BillingPortalSession = stripe.write(&request, &one_time_key(ctx, "portal")).await?;
    let mut tx = ctx.begin().await?;
    tx.audit(Event::PortalOpened).await?;
    tx.commit().await?;
    Ok(opened.url)
}

/// Key of a call that sets a state, so that a second one has the same effect.
pub(super) fn one_time_key(ctx: &Ctx, what: &str) -> String {
    format!("{what}-{}", clock::uuid_v7(ctx.now(), &ctx.rng))
}

/// Ends the subscription with its period, or at once if it is not paid.
pub(super) async fn cancel(ctx: &CallerCtx) -> Result<(), Error> {
    let stripe = customers::stripe(ctx)?;
    let account_id = ctx.account_id();
    let all = list(ctx, account_id).await?;
    let running = all.iter().find(|it| is_running(it));
    let running = running.ok_or(Error::NothingToCancel)?;
    if is_canceled(running) {
        return Ok(());
    }
    let id = running.stripe_subscription_id.as_deref();
    let id = id.ok_or(Error::NothingToCancel)?;
    let done = if running.status.is_live() {
        let request = UpdateSubscription::new(SubscriptionId::from(id)).cancel_at_period_end(true);
        let key = one_time_key(ctx, "cancel");
        stripe.write(&request, &key).await.map(|_: Subscription| ())
    } else {
        end_now(stripe, id, &one_time_key(ctx, "cancel")).await
    };
    finish(
        ctx,
        done,
        Event::SubscriptionCanceled,
        Error::NothingToCancel,
    )
    .await
}

/// Undoes the cancellation of a subscription that has not ended.
pub(super) async fn resume(ctx: &CallerCtx) -> Result<(), Error> {
    let stripe = customers::stripe(ctx)?;
    let account_id = ctx.account_id();
    let all = list(ctx, account_id).await?;
    let canceled = all.iter().find(|it| is_running(it) && is_canceled(it));
    let canceled = canceled.ok_or(Error::NothingToResume)?;
    let id = canceled.stripe_subscription_id.as_deref();
    let id = id.ok_or(Error::NothingToResume)?;
    // The builder cannot unset `cancel_at`, which the portal sets.
    let fields = if canceled.cancel_at_period_end {
        [("cancel_at_period_end", "false")]
    } else {
        [("cancel_at", "")]
    };
    let request = PostForm::<Subscription>::new(format!("/subscriptions/{id}"), &fields);
    let done = stripe.write(&request, &one_time_key(ctx, "resume")).await;
    finish(
        ctx,
        done.map(|_| ()),
        Event::SubscriptionResumed,
        Error::NothingToResume,
    )
    .await
}

/// Ends a subscription at once. One that has ended is a refusal.
pub(super) async fn end_now(stripe: &Stripe, id: &str, key: &str) -> Result<(), CallError> {
    let request = CancelSubscription::new(SubscriptionId::from(id));
    stripe.write(&request, key).await.map(|_: Subscription| ())
}

/// Stores what a call has changed. A refusal means that the subscription has ended meanwhile.
async fn finish(
    ctx: &CallerCtx,
    done: Result<(), CallError>,
    event: Event,
    ended: Error,
) -> Result<(), Error> {
    let refused = match done {
        Ok(()) => false,
        Err(CallError::Refused(refusal)) if refusal.kind == "invalid_request_error" => {
            tracing::warn!(%refusal, "a subscription could not be changed");
            true
        }
        Err(error) => return Err(error.into()),
    };
    let account_id = ctx.account_id();
    let customer = customer(ctx, account_id).await?;
    sync::sync(ctx, account_id, &customer, Areas::SUBSCRIPTIONS).await?;
    if refused {
        return Err(ended);
    }
    let mut tx = ctx.begin().await?;
    tx.audit(event).await?;
    tx.commit().await?;
    Ok(())
}
