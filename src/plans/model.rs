//! The plans, and the one rule that says which of them an account has.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{PlansConfig, TierConfig};
use crate::ids::PaymentId;
use crate::infra::after;

/// What an account is good for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Plan {
    /// What everybody has.
    #[default]
    Free,
    /// The first paid one.
    Pro,
    /// The largest.
    Enterprise,
}

impl Plan {
    /// All of them, the smallest first.
    pub const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Enterprise];

    /// The stored name, as labels of metrics have it too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Pro => "Pro",
            Self::Enterprise => "Enterprise",
        }
    }

    /// Its numbers: requests a minute, requests a month, the price.
    #[must_use]
    pub const fn tier(self, config: &PlansConfig) -> &TierConfig {
        match self {
            Self::Free => &config.free,
            Self::Pro => &config.pro,
            Self::Enterprise => &config.enterprise,
        }
    }

    /// What it includes beside its numbers.
    #[must_use]
    pub const fn features(self) -> &'static [Feature] {
        use Feature::{ApiKeys, EmailSupport, PrioritySupport, UptimeAgreement, UsageReports};
        match self {
            Self::Free => &[ApiKeys, UsageReports],
            Self::Pro => &[ApiKeys, UsageReports, EmailSupport],
            Self::Enterprise => &[
                ApiKeys,
                UsageReports,
                EmailSupport,
                PrioritySupport,
                UptimeAgreement,
            ],
        }
    }
}

/// What a plan can include beside its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Keys for programs.
    ApiKeys,
    /// Use by day, hour and endpoint.
    UsageReports,
    /// Answers by e-mail.
    EmailSupport,
    /// Answers ahead of others.
    PrioritySupport,
    /// An agreement on availability.
    UptimeAgreement,
}

/// All plans, as everybody may see them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Pricing {
    /// The plans, the smallest first.
    pub plans: Vec<Offer>,
}

/// What a plan costs and gives.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// The plan.
    pub plan: Plan,
    /// Its name for people.
    #[schema(example = "Pro")]
    pub name: String,
    /// What it costs.
    pub price: Price,
    /// Requests a minute that it allows.
    #[schema(example = 1_000)]
    pub requests_per_minute: u32,
    /// Requests a month that it includes; `null` is without end.
    #[schema(example = 1_000_000)]
    pub monthly_quota: Option<u32>,
    /// Whether requests beyond the quota are refused.
    pub quota_is_hard: bool,
    /// Events that it stores in a month; those beyond are rejected. `null` is unlimited.
    #[schema(example = 1_000_000)]
    pub monthly_events: Option<u64>,
    /// Bytes of events that it stores in a month; those beyond are rejected. `null` is unlimited.
    #[schema(example = 1_073_741_824)]
    pub monthly_event_bytes: Option<u64>,
    /// What it includes beside its numbers.
    pub features: Vec<Feature>,
}

/// A price for a month.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// In minor units of the currency: cents.
    #[schema(example = 2_900)]
    pub amount: u32,
    /// The currency (ISO 4217).
    #[schema(example = "USD", min_length = 3, max_length = 3)]
    pub currency: String,
    /// What the price is for.
    pub interval: Interval,
}

/// The time that a price is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// A month.
    Month,
}

impl Pricing {
    pub(super) fn of(config: &PlansConfig) -> Self {
        let plans = Plan::ALL.into_iter();
        Self {
            plans: plans.map(|plan| Offer::of(plan, config)).collect(),
        }
    }
}

impl Offer {
    /// What a plan costs and gives by these settings.
    #[must_use]
    pub fn of(plan: Plan, config: &PlansConfig) -> Self {
        let tier = plan.tier(config);
        Self {
            plan,
            name: plan.name().to_owned(),
            price: Price {
                amount: tier.price,
                currency: config.currency.as_str().to_owned(),
                interval: Interval::Month,
            },
            requests_per_minute: tier.rate,
            monthly_quota: tier.quota.map(|quota| quota.requests),
            quota_is_hard: tier.quota.is_some_and(|quota| quota.hard),
            monthly_events: tier.events,
            monthly_event_bytes: tier.event_bytes,
            features: plan.features().to_vec(),
        }
    }
}

/// How a subscription stands, in the payment provider's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// The first payment is awaited.
    Incomplete,
    /// The first payment never came.
    IncompleteExpired,
    /// It is tried for nothing.
    Trialing,
    /// It is paid.
    Active,
    /// The renewal is not paid yet.
    PastDue,
    /// It ended.
    Canceled,
    /// The renewal was not paid, and is no longer tried.
    Unpaid,
    /// The trial ended without a way to pay.
    Paused,
}

/// Stored names of the statuses in which a subscription may give its account a plan, as
/// [`Standing::of`] decides: the one list for SQL.
pub const LIVE_STATUSES: [&str; 3] = ["trialing", "active", "past_due"];

/// What an account pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// The plan that is paid for.
    pub plan: Plan,
    /// How it stands.
    pub status: SubscriptionStatus,
    /// The start of the period that is paid, or to be paid.
    pub current_period_start: DateTime<Utc>,
    /// Its end.
    pub current_period_end: DateTime<Utc>,
    /// Whether the subscription ends there.
    pub cancel_at_period_end: bool,
}

/// Money that moved, or tried to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Payment {
    /// The payment's id.
    pub id: PaymentId,
    /// In minor units of the currency: cents.
    #[schema(example = 2_900)]
    pub amount: i64,
    /// The currency (ISO 4217).
    #[schema(example = "USD", min_length = 3, max_length = 3)]
    pub currency: String,
    /// What became of it.
    pub status: PaymentStatus,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
}

/// What became of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// It is under way.
    Pending,
    /// The money is here.
    Succeeded,
    /// It was refused.
    Failed,
    /// A part went back.
    PartiallyRefunded,
    /// All of it went back.
    Refunded,
    /// The payer's bank asks for it back.
    Disputed,
}

/// The plan that an account's subscription gives it, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    plan: Plan,
    /// `None` when nothing ends it but news.
    until: Option<DateTime<Utc>>,
}

impl Standing {
    /// What a subscription is good for. One that is paid or tried is so to the end of its period;
    /// unless it is to end there, it goes on for the grace, since its renewal may be told late.
    /// One that is past due is so for the grace, from the start of the period that is not paid.
    #[must_use]
    pub fn of(subscription: Option<Subscription>, grace: Duration) -> Self {
        use SubscriptionStatus as Status;
        let Some(subscription) = subscription else {
            return Self::default();
        };
        let late = |time| after(time, grace);
        let until = match subscription.status {
            Status::Trialing | Status::Active if subscription.cancel_at_period_end => {
                subscription.current_period_end
            }
            Status::Trialing | Status::Active => late(subscription.current_period_end),
            Status::PastDue => late(subscription.current_period_start),
            Status::Incomplete
            | Status::IncompleteExpired
            | Status::Canceled
            | Status::Unpaid
            | Status::Paused => return Self::default(),
        };
        Self {
            plan: subscription.plan,
            until: Some(until),
        }
    }

    /// The plan at this moment.
    #[must_use]
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

    /// The plan on some days after the start of a period of thirty.
    fn plan(status: Status, cancel_at_period_end: bool, days: i64) -> Plan {
        let start = DateTime::<Utc>::UNIX_EPOCH;
        let standing = Standing::of(
            Some(Subscription {
                plan: Plan::Pro,
                status,
                current_period_start: start,
                current_period_end: start + TimeDelta::days(30),
                cancel_at_period_end,
            }),
            GRACE,
        );
        standing.plan(start + TimeDelta::days(days))
    }

    #[test]
    fn a_plan_lasts_as_long_as_its_subscription_is_good() {
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
        ] {
            let told = plan(status, cancels, days);
            assert_eq!(told, expected, "{status:?}, {cancels}, day {days}");
        }
    }

    #[test]
    fn who_subscribes_to_nothing_has_the_free_plan() {
        let standing = Standing::of(None, GRACE);
        assert_eq!(standing.plan(DateTime::<Utc>::MAX_UTC), Plan::Free);
    }

    #[test]
    fn a_larger_plan_includes_what_a_smaller_one_does() {
        for pair in Plan::ALL.windows(2) {
            let (smaller, larger) = (pair[0].features(), pair[1].features());
            assert!(smaller.iter().all(|feature| larger.contains(feature)));
        }
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
        ] {
            let name = serde_json::to_value(status).expect("it is a name");
            let is_live = name
                .as_str()
                .is_some_and(|name| LIVE_STATUSES.contains(&name));
            assert_eq!(is_live, plan(status, false, 1) == Plan::Pro, "{status:?}");
        }
    }
}
