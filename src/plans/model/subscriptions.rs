//! Subscriptions, and the rule by which one entitles an account to a plan.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::after;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Plan;

/// Status of a subscription, in the terms of the payment provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// The first payment is outstanding.
    Incomplete,
    /// The first payment was not made in time.
    IncompleteExpired,
    /// On trial.
    Trialing,
    /// Paid.
    Active,
    /// The renewal is not paid yet.
    PastDue,
    /// Ended.
    Canceled,
    /// The renewal was not paid and is no longer retried.
    Unpaid,
    /// The trial ended without a payment method.
    Paused,
    /// A status that this release does not know.
    Unknown,
}

impl SubscriptionStatus {
    /// Returns whether a subscription with this status can give a plan, as in the statements and the unique index.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue)
    }

    /// Returns whether this status is final.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }
}

/// Subscription of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// Subscribed plan.
    pub plan: Plan,
    /// Status.
    pub status: SubscriptionStatus,
    /// Start of the current billing period.
    pub current_period_start: DateTime<Utc>,
    /// End of the current billing period.
    pub current_period_end: DateTime<Utc>,
    /// True if the subscription ends with the period.
    pub cancel_at_period_end: bool,
    /// Time at which the subscription ends, if it is canceled.
    pub cancel_at: Option<DateTime<Utc>>,
    /// Time since which the payment is overdue.
    pub past_due_since: Option<DateTime<Utc>>,
}

/// A subscription as it is at the payment provider.
#[derive(Clone, Debug)]
pub struct ProvidedSubscription {
    pub stripe_subscription_id: String,
    /// `None` for a price that no plan has.
    pub plan: Option<Plan>,
    pub status: SubscriptionStatus,
    pub stripe_price_id: Option<String>,
    pub quantity: Option<i64>,
    pub current_period_start: DateTime<Utc>,
    pub current_period_end: DateTime<Utc>,
    pub cancel_at_period_end: bool,
    pub cancel_at: Option<DateTime<Utc>>,
    pub trial_end: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// True if an item bills usage by a meter.
    pub has_usage_item: bool,
    /// Another one of the account came first.
    pub is_duplicate: bool,
}

/// A subscription as stored.
#[derive(Clone, Debug)]
pub struct StoredSubscription {
    pub stripe_subscription_id: Option<String>,
    pub plan: Option<Plan>,
    pub status: SubscriptionStatus,
    pub stripe_price_id: Option<String>,
    pub quantity: Option<i64>,
    pub current_period_start: DateTime<Utc>,
    pub current_period_end: DateTime<Utc>,
    pub cancel_at_period_end: bool,
    pub cancel_at: Option<DateTime<Utc>>,
    pub trial_end: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub past_due_since: Option<DateTime<Utc>>,
}

/// The plan that an account's subscription entitles it to, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    plan: Plan,
    /// `None` for the free plan, which does not end.
    until: Option<DateTime<Utc>>,
}

impl Entitlement {
    /// An active or trial subscription is valid to its end or, if it is to be renewed, to the end of its period and
    /// the grace period, since the renewal may be reported late. One that is past due is valid for the grace period from
    /// the time at which it became so, or else from the start of the unpaid period.
    pub fn of(subscription: Option<Subscription>, grace: Duration) -> Self {
        use SubscriptionStatus as Status;
        let Some(subscription) = subscription else {
            return Self::default();
        };
        let late = |time| after(time, grace);
        let at_period_end = subscription
            .cancel_at_period_end
            .then_some(subscription.current_period_end);
        let ends_at = subscription.cancel_at.or(at_period_end);
        let unless_it_ends =
            |time: DateTime<Utc>| ends_at.map_or(time, |ends_at| time.min(ends_at));
        let until = match subscription.status {
            Status::Trialing | Status::Active => {
                unless_it_ends(late(subscription.current_period_end))
            }
            Status::PastDue => {
                let since = subscription.past_due_since;
                unless_it_ends(late(since.unwrap_or(subscription.current_period_start)))
            }
            Status::Incomplete
            | Status::IncompleteExpired
            | Status::Canceled
            | Status::Unpaid
            | Status::Paused
            | Status::Unknown => return Self::default(),
        };
        Self {
            plan: subscription.plan,
            until: Some(until),
        }
    }

    pub fn plan(self, now: DateTime<Utc>) -> Plan {
        match self.until {
            Some(until) if now >= until => Plan::Free,
            _ => self.plan,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::SubscriptionStatus as Status;
    use super::*;

    const GRACE: Duration = Duration::from_hours(7 * 24);

    /// The plan some days after the start of a period of thirty.
    fn plan(status: Status, cancel_at_period_end: bool, days: i64) -> Plan {
        let start = DateTime::<Utc>::UNIX_EPOCH;
        let entitlement = Entitlement::of(
            Some(Subscription {
                plan: Plan::Pro,
                status,
                current_period_start: start,
                current_period_end: start + TimeDelta::days(30),
                cancel_at_period_end,
                cancel_at: None,
                past_due_since: None,
            }),
            GRACE,
        );
        entitlement.plan(start + TimeDelta::days(days))
    }

    #[test]
    fn a_plan_lasts_as_long_as_its_subscription_is_valid() {
        use Plan::{Free, Pro};
        for (status, cancels, days, expected) in [
            (Status::Active, false, 0, Pro),
            (Status::Active, false, 36, Pro),
            (Status::Active, false, 37, Free),
            (Status::Active, true, 29, Pro),
            (Status::Active, true, 30, Free),
            (Status::Trialing, false, 1, Pro),
            (Status::Trialing, false, 37, Free),
            (Status::Trialing, true, 30, Free),
            (Status::PastDue, false, 6, Pro),
            (Status::PastDue, true, 6, Pro),
            (Status::PastDue, false, 7, Free),
            (Status::Incomplete, false, 1, Free),
            (Status::IncompleteExpired, false, 1, Free),
            (Status::Canceled, false, 1, Free),
            (Status::Unpaid, false, 1, Free),
            (Status::Paused, false, 1, Free),
            (Status::Unknown, false, 1, Free),
        ] {
            let plan = plan(status, cancels, days);
            assert_eq!(plan, expected, "{status:?}, {cancels}, day {days}");
        }
    }

    #[test]
    fn a_plan_ends_when_it_is_canceled_and_the_grace_begins_when_a_payment_is_overdue() {
        use Plan::{Free, Pro};
        let start = DateTime::<Utc>::UNIX_EPOCH;
        let day = |days| start + TimeDelta::days(days);
        for (status, cancel_at, past_due_since, days, expected) in [
            (Status::Active, Some(10), None, 9, Pro),
            (Status::Active, Some(10), None, 10, Free),
            (Status::Trialing, Some(10), None, 10, Free),
            // Beyond the period it is renewed first.
            (Status::Active, Some(60), None, 36, Pro),
            (Status::Active, Some(60), None, 37, Free),
            (Status::PastDue, None, Some(20), 26, Pro),
            (Status::PastDue, None, Some(20), 27, Free),
            (Status::PastDue, Some(22), Some(20), 22, Free),
        ] {
            let entitlement = Entitlement::of(
                Some(Subscription {
                    plan: Plan::Pro,
                    status,
                    current_period_start: start,
                    current_period_end: day(30),
                    cancel_at_period_end: false,
                    cancel_at: cancel_at.map(day),
                    past_due_since: past_due_since.map(day),
                }),
                GRACE,
            );
            assert_eq!(
                entitlement.plan(day(days)),
                expected,
                "{status:?}, day {days}"
            );
        }
    }

    #[test]
    fn without_a_subscription_the_plan_is_free() {
        let entitlement = Entitlement::of(None, GRACE);
        assert_eq!(entitlement.plan(DateTime::<Utc>::MAX_UTC), Plan::Free);
    }

    #[test]
    fn the_statuses_for_sql_are_those_that_give_a_plan() {
        for status in [
            Status::Incomplete,
            Status::IncompleteExpired,
            Status::Trialing,
            Status::Active,
            Status::PastDue,
            Status::Canceled,
            Status::Unpaid,
            Status::Paused,
            Status::Unknown,
        ] {
            let name = serde_json::to_value(status).expect("it is a name");
            let is_live = name
                .as_str()
                // As in the statements and the unique index.
                .is_some_and(|name| ["trialing", "active", "past_due"].contains(&name));
            assert_eq!(is_live, plan(status, false, 1) == Plan::Pro, "{status:?}");
            assert_eq!(is_live, status.is_live(), "{status:?}");
        }
    }
}
