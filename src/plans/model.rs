//! Plans and offers.

mod subscriptions;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::subscriptions::{
    Entitlement, ProvidedSubscription, StoredSubscription, Subscription, SubscriptionStatus,
};
use crate::config::{PlansConfig, PriceId, TierConfig};

/// Plan of an account.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Plan {
    /// The plan without a subscription.
    #[default]
    Free,
    /// The smaller paid plan.
    Pro,
    /// The larger paid plan.
    Enterprise,
}

impl Plan {
    /// From the smallest to the largest.
    pub const ALL: [Self; 3] = [Self::Free, Self::Pro, Self::Enterprise];

    /// Name in the database, in limits and in labels of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// Display name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Pro => "Pro",
            Self::Enterprise => "Enterprise",
        }
    }

    pub const fn tier(self, config: &PlansConfig) -> &TierConfig {
        match self {
            Self::Free => &config.free,
            Self::Pro => &config.pro,
            Self::Enterprise => &config.enterprise,
        }
    }

    /// Price for sale by this interval, as the payment provider names it.
    pub fn price_id(self, interval: Interval, config: &PlansConfig) -> Option<&PriceId> {
        let tier = self.tier(config);
        match interval {
            Interval::Month => tier.price_id.as_ref(),
            Interval::Year => tier.year.as_ref().map(|year| &year.price_id),
        }
    }

    /// Plan that a price belongs to, for sale or not.
    pub fn of_price(price_id: &str, config: &PlansConfig) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| {
            let tier = plan.tier(config);
            let year = tier.year.as_ref().map(|year| &year.price_id);
            let all = tier
                .price_id
                .iter()
                .chain(year)
                .chain(&tier.former_price_ids);
            all.map(PriceId::as_str).any(|id| id == price_id)
        })
    }

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

/// Feature that a plan can include.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// API keys.
    ApiKeys,
    /// Reports of usage by day, hour and endpoint.
    UsageReports,
    /// Support by email.
    EmailSupport,
    /// Priority support.
    PrioritySupport,
    /// Service level agreement on availability.
    UptimeAgreement,
}

/// Price list of all plans.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Pricing {
    /// From the smallest plan to the largest.
    pub plans: Vec<Offer>,
}

/// Price and content of a plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// The plan.
    pub plan: Plan,
    /// Display name.
    #[schema(example = "Pro")]
    pub name: String,
    /// Price.
    pub price: Price,
    /// Price by the year; `null` where it cannot be paid by the year.
    pub yearly_price: Option<Price>,
    /// Rate limit: requests a minute.
    #[schema(example = 1_000)]
    pub requests_per_minute: u32,
    /// Quota: requests a month. `null` is unlimited.
    #[schema(example = 1_000_000)]
    pub monthly_quota: Option<u32>,
    /// Whether requests beyond the quota are rejected.
    pub quota_is_hard: bool,
    /// Events stored in a month; those beyond are rejected. `null` is unlimited.
    #[schema(example = 1_000_000)]
    pub monthly_events: Option<u64>,
    /// Bytes of events stored in a month; those beyond are rejected. `null` is unlimited.
    #[schema(example = 1_073_741_824)]
    pub monthly_event_bytes: Option<u64>,
    /// Secrets. `null` is unlimited.
    #[schema(example = 100)]
    pub secrets: Option<u32>,
    /// Bytes of one file.
    #[schema(example = 262_144_000)]
    pub file_size: u64,
    /// Files. `null` is unlimited.
    #[schema(example = 10_000)]
    pub files: Option<u32>,
    /// Bytes of all files. `null` is unlimited.
    #[schema(example = 10_737_418_240_u64)]
    pub storage: Option<u64>,
    /// Included features.
    pub features: Vec<Feature>,
}

/// Price of a plan.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// In minor units of the currency, such as cents.
    #[schema(example = 2_900)]
    pub amount: u32,
    /// Currency (ISO 4217).
    #[schema(example = "USD", min_length = 3, max_length = 3)]
    pub currency: String,
    /// Billing period.
    pub interval: Interval,
}

/// Billing period of a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// One month.
    #[default]
    Month,
    /// One year.
    Year,
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
    pub fn of(plan: Plan, config: &PlansConfig) -> Self {
        let tier = plan.tier(config);
        let price = |amount, interval| Price {
            amount,
            currency: config.currency.clone(),
            interval,
        };
        Self {
            plan,
            name: plan.name().to_owned(),
            price: price(tier.price, Interval::Month),
            yearly_price: tier
                .year
                .as_ref()
                .map(|year| price(year.price, Interval::Year)),
            requests_per_minute: tier.rate,
            monthly_quota: tier.quota.map(|quota| quota.requests),
            quota_is_hard: tier.quota.is_some_and(|quota| quota.hard),
            monthly_events: tier.events,
            monthly_event_bytes: tier.event_bytes,
            secrets: tier.secrets,
            file_size: tier.files.size,
            files: tier.files.count,
            storage: tier.files.bytes,
            features: plan.features().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_plan_includes_what_a_smaller_one_does() {
        for pair in Plan::ALL.windows(2) {
            let (smaller, larger) = (pair[0].features(), pair[1].features());
            assert!(smaller.iter().all(|feature| larger.contains(feature)));
        }
    }
}
