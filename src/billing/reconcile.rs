//! Reconciliation: compares rows with Stripe without an event, and repairs them.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::error::Error;
use super::store::accounts;
use super::subscriptions;
use super::sync::{self, Areas, ReadObjects};
use crate::ctx::Ctx;
use crate::customers;
use crate::ids::AccountId;
use crate::metrics;
use crate::plans::{self, SubscriptionStatus};
use crate::scope::{Exception, Scope};
use crate::state::AppState;

/// An event may be this late before a subscription is read without one.
const LATE: TimeDelta = TimeDelta::hours(2);

/// Accounts of one run; the rest follows in the next.
const AT_ONCE: i64 = 200;

/// Reads the subscriptions that should have changed, and those that are not paid.
pub(super) async fn reconcile_stale(state: &AppState) -> Result<(), Error> {
    if state.stripe.is_none() {
        return Ok(());
    }
    let ctx = Ctx::system(state);
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Job)).await?;
    let late = accounts::list_stale(&mut *tx, ctx.now() - LATE, AT_ONCE).await?;
    tx.commit().await?;
    for (account_id, customer) in late {
        if let Err(error) = reconcile(&ctx, account_id, &customer, true).await {
            tracing::warn!(account_id = %account_id, %error, "an account could not be reconciled");
        }
    }
    Ok(())
}

/// Compares one account; returns what differs, and stores what is true if `applies`.
pub(super) async fn reconcile(
    ctx: &Ctx,
    account_id: AccountId,
    customer: &str,
    applies: bool,
) -> Result<Vec<String>, Error> {
    let stripe = customers::stripe(ctx)?;
    let objects = sync::read_objects(stripe, customer, Areas::SUBSCRIPTIONS).await?;
    let differences = differences(ctx, account_id, &objects).await?;
    if !differences.is_empty() {
        metrics::count_billing_drift(differences.len());
        tracing::warn!(account_id = %account_id, ?differences, applies, "subscriptions differ from those at Stripe");
    }
    if applies {
        sync::sync(ctx, account_id, customer, Areas::ALL).await?;
    }
    Ok(differences)
}

async fn differences(
    ctx: &Ctx,
    account_id: AccountId,
    objects: &ReadObjects,
) -> Result<Vec<String>, Error> {
    let mut tx = ctx.begin_scoped(Scope::Account(account_id)).await?;
    let stored = plans::list_subscriptions(&mut *tx, account_id, true).await?;
    tx.commit().await?;
    let read = objects.subscriptions.iter().flat_map(|it| &it.objects);
    let mut provided = sync::provided_subscriptions(read, &ctx.plans);
    subscriptions::mark_duplicates(&mut provided);
    let describe = |plan: Option<plans::Plan>, status: SubscriptionStatus, rest: String| {
        let plan = plan.map_or("no plan", plans::Plan::as_str);
        format!("{plan}, {status:?}, {rest}")
    };
    let there: BTreeMap<_, _> = provided
        .iter()
        .map(|it| {
            let rest = format!(
                "to {}, {:?}",
                it.current_period_end,
                (it.cancel_at, it.cancel_at_period_end, it.quantity)
            );
            (
                it.stripe_subscription_id.clone(),
                describe(it.plan, it.status, rest),
            )
        })
        .collect();
    // Those that ended may be of a customer that was deleted at Stripe, and are not compared then.
    let here: BTreeMap<_, _> = stored
        .iter()
        .filter(|it| {
            let id = it.stripe_subscription_id.as_ref();
            !it.status.has_ended() || id.is_some_and(|id| there.contains_key(id))
        })
        .filter_map(|it| {
            let rest = format!(
                "to {}, {:?}",
                it.current_period_end,
                (it.cancel_at, it.cancel_at_period_end, it.quantity)
            );
            Some((
                it.stripe_subscription_id.clone()?,
                describe(it.plan, it.status, rest),
            ))
        })
        .collect();
    let ids = there
        .keys()
        .chain(here.keys().filter(|id| !there.contains_key(*id)));
    Ok(ids
        .filter(|id| there.get(*id) != here.get(*id))
        .map(|id| {
            let text = |side: &BTreeMap<String, String>| {
                side.get(id)
                    .map_or_else(|| "missing".to_owned(), Clone::clone)
            };
            format!("{id}: stored {}; at Stripe {}", text(&here), text(&there))
        })
        .collect())
}
