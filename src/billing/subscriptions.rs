//! Subscriptions at Stripe as rows: plan, status, and which of several gives the plan.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use stripe_client::shared::{Subscription, SubscriptionStatus as StripeStatus};

use crate::config::PlansConfig;
use crate::ids::CheckoutId;
use crate::plans::{Plan, ProvidedSubscription, SubscriptionStatus};

/// Name of the checkout's id in the metadata of a subscription.
pub(super) const CHECKOUT: &str = "checkout_id";

/// Times at Stripe are whole seconds since 1970.
pub(super) fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// Checkout that a subscription was bought by.
pub(super) fn checkout_of(subscription: &Subscription) -> Option<CheckoutId> {
    subscription.metadata.get(CHECKOUT)?.parse().ok()
}

fn status(status: &StripeStatus) -> SubscriptionStatus {
    match status {
        StripeStatus::Active => SubscriptionStatus::Active,
        StripeStatus::Canceled => SubscriptionStatus::Canceled,
        StripeStatus::Incomplete => SubscriptionStatus::Incomplete,
        StripeStatus::IncompleteExpired => SubscriptionStatus::IncompleteExpired,
        StripeStatus::PastDue => SubscriptionStatus::PastDue,
        StripeStatus::Paused => SubscriptionStatus::Paused,
        StripeStatus::Trialing => SubscriptionStatus::Trialing,
        StripeStatus::Unpaid => SubscriptionStatus::Unpaid,
        _ => SubscriptionStatus::Unknown,
    }
}

/// A subscription as a row, before it is compared with the others.
pub(super) fn provided(subscription: &Subscription, config: &PlansConfig) -> ProvidedSubscription {
    let items = &subscription.items.data;
    let plan_of = |price: &str| Plan::of_price(price, config);
    // Besides the plan a subscription may have an item for usage.
    let item = items
        .iter()
        .find(|item| plan_of(item.price.id.as_str()).is_some())
        .or_else(|| items.first());
    let started = subscription.start_date;
    let start = item.map_or(started, |item| item.current_period_start);
    let end = item.map_or(started, |item| item.current_period_end);
    let plan = item.and_then(|item| plan_of(item.price.id.as_str()));
    let status = status(&subscription.status);
    if plan.is_none() || status == SubscriptionStatus::Unknown {
        tracing::warn!(
            subscription = subscription.id.as_str(),
            status = subscription.status.as_str(),
            "a subscription gives no plan: its price or its status is unknown"
        );
    }
    ProvidedSubscription {
        stripe_subscription_id: subscription.id.to_string(),
        plan,
        status,
        stripe_price_id: item.map(|item| item.price.id.to_string()),
        quantity: item.and_then(|item| item.quantity?.try_into().ok()),
        current_period_start: time(start),
        current_period_end: time(end.max(start)),
        cancel_at_period_end: subscription.cancel_at_period_end,
        cancel_at: subscription.cancel_at.map(time),
        trial_end: subscription.trial_end.map(time),
        ended_at: subscription.ended_at.map(time),
        created_at: time(subscription.created),
        has_usage_item: items.iter().any(|item| {
            let recurring = item.price.recurring.as_ref();
            recurring.is_some_and(|recurring| recurring.meter.is_some())
        }),
        is_duplicate: false,
    }
}

/// Marks all but one of the subscriptions that could give a plan as duplicates: the first that was made counts. Returns
/// the position of the one that gives the plan.
pub(super) fn mark_duplicates(subscriptions: &mut [ProvidedSubscription]) -> Option<usize> {
    let candidates = subscriptions.iter().enumerate();
    let current = candidates
        .filter(|(_, it)| it.status.is_live())
        .max_by_key(|(_, it)| {
            let id = it.stripe_subscription_id.clone();
            (it.plan.is_some(), Reverse((it.created_at, id)))
        })
        .map(|(at, _)| at);
    for (at, it) in subscriptions.iter_mut().enumerate() {
        it.is_duplicate = it.status.is_live() && Some(at) != current;
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(
        id: &str,
        created: i64,
        status: SubscriptionStatus,
        plan: Option<Plan>,
    ) -> ProvidedSubscription {
        ProvidedSubscription {
            stripe_subscription_id: id.to_owned(),
            plan,
            status,
            stripe_price_id: None,
            quantity: None,
            current_period_start: time(created),
            current_period_end: time(created),
            cancel_at_period_end: false,
            cancel_at: None,
            trial_end: None,
            ended_at: None,
            created_at: time(created),
            has_usage_item: false,
            is_duplicate: false,
        }
    }

    #[test]
    fn the_first_living_subscription_of_a_known_plan_counts_in_any_order() {
        use SubscriptionStatus::{Active, Canceled, PastDue};
        let mut all = vec![
            subscription("sub_d", 4, Active, Some(Plan::Pro)),
            subscription("sub_c", 3, PastDue, Some(Plan::Pro)),
            subscription("sub_b", 3, Active, Some(Plan::Enterprise)),
            subscription("sub_u", 1, Active, None),
            subscription("sub_a", 2, Canceled, Some(Plan::Pro)),
        ];
        for _ in 0..all.len() {
            all.rotate_left(1);
            let current =
                mark_duplicates(&mut all).map(|at| all[at].stripe_subscription_id.clone());
            assert_eq!(current.as_deref(), Some("sub_b"));
            let mut duplicates: Vec<_> = all
                .iter()
                .filter(|it| it.is_duplicate)
                .map(|it| it.stripe_subscription_id.as_str())
                .collect();
            duplicates.sort_unstable();
            assert_eq!(duplicates, ["sub_c", "sub_d", "sub_u"]);
        }
        let mut ended = [subscription("sub_a", 2, Canceled, Some(Plan::Pro))];
        assert_eq!(mark_duplicates(&mut ended), None);
    }
}
