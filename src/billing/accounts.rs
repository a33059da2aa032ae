//! What follows an account at Stripe: the quantity of seats, the address for invoices, and the end of the subscription of
//! a deleted account. Rows are compared every minute, so that a change is sent once however many members join
//! within it, and a failed call is repeated with the next comparison.

use stripe_client::CallError;
use stripe_client::billing::subscription::UpdateSubscription;
use stripe_client::billing::subscription::UpdateSubscriptionItems;
use stripe_client::core::customer::UpdateCustomer;
use stripe_client::shared::{Customer, CustomerId, Subscription, SubscriptionId};

use super::error::Error;
use super::manage::{end_now, one_time_key};
use super::store::accounts as store;
use super::sync::{self, Areas};
use crate::ctx::Ctx;
use crate::customers;
use crate::ids::AccountId;
use crate::plans::Plan;
use crate::scope::{Exception, Scope};
use crate::state::AppState;

/// Accounts of one run; the rest follows in the next.
const AT_ONCE: i64 = 100;

pub(super) async fn follow(state: &AppState) -> Result<(), Error> {
    if state.stripe.is_none() {
        return Ok(());
    }
    let ctx = Ctx::system(state);
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    let ended = store::list_deleted(&mut *tx, AT_ONCE).await?;
    let seats = store::list_seat_changes(&mut *tx, AT_ONCE).await?;
    let addresses = store::list_address_changes(&mut *tx, AT_ONCE).await?;
    tx.commit().await?;
    for it in ended {
        let result = end(&ctx, &it).await;
        report(
            "end the subscription of a deleted account",
            it.account_id,
            result,
        );
    }
    for it in seats {
        let result = Box::pin(set_seats(&ctx, &it)).await;
        report("set the seats of a subscription", it.account_id, result);
    }
    for it in addresses {
        let result = set_address(&ctx, &it).await;
        report("set the address of a customer", it.account_id, result);
    }
    Ok(())
}

/// One account never keeps the others from following.
fn report(what: &'static str, account_id: AccountId, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::warn!(what, account_id = %account_id, %error, "Stripe does not follow an account yet");
    }
}

async fn end(ctx: &Ctx, it: &store::RunningSubscription) -> Result<(), Error> {
    let stripe = customers::stripe(ctx)?;
    let id = &it.stripe_subscription_id;
    match end_now(stripe, id, &format!("end-{id}")).await {
        Ok(()) => {}
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error.into()),
    }
    sync::sync(ctx, it.account_id, &it.customer, Areas::SUBSCRIPTIONS).await
}

async fn set_seats(ctx: &Ctx, it: &store::SeatChange) -> Result<(), Error> {
    let stripe = customers::stripe(ctx)?;
    let id = SubscriptionId::from(it.stripe_subscription_id.as_str());
    let request = stripe_client::billing::subscription::RetrieveSubscription::new(id.clone());
    let found: Subscription = stripe.read(&request).await?;
    let items = &found.items.data;
    let is_plan = |price: &str| Plan::of_price(price, &ctx.plans).is_some();
    let item = items.iter().find(|item| is_plan(item.price.id.as_str()));
    let item = item.ok_or(CallError::Malformed)?;
    let mut change = UpdateSubscriptionItems::new();
    change.id = Some(item.id.to_string());
    change.quantity = it.members.try_into().ok();
    let request = UpdateSubscription::new(id).items(vec![change]);
    let _: Subscription = stripe.write(&request, &one_time_key(ctx, "seats")).await?;
    sync::sync(ctx, it.account_id, &it.customer, Areas::SUBSCRIPTIONS).await
}

async fn set_address(ctx: &Ctx, it: &store::AddressChange) -> Result<(), Error> {
    let stripe = customers::stripe(ctx)?;
    let request = UpdateCustomer::new(CustomerId::from(it.customer.as_str())).email(&it.email);
    let written = stripe.write(&request, &one_time_key(ctx, "address")).await;
    match written.map(|_: Customer| ()) {
        Ok(()) => {}
        Err(error) if error.is_missing() => {
            sync::forget_customer(ctx, it.account_id, &it.customer).await?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    let mut tx = ctx.begin_scoped(Scope::Account(it.account_id)).await?;
    customers::set_email(&mut *tx, it.account_id, &it.email, ctx.now()).await?;
    tx.commit().await?;
    Ok(())
}
