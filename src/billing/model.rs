//! Requests and responses of billing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::ids::{CheckoutId, UserId};
use crate::plans::{Interval, Plan, StoredSubscription, SubscriptionStatus};

/// Purchase of a plan. Prices come from the settings.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCheckout {
    /// Plan.
    pub plan: Plan,
    /// Billing period.
    #[serde(default)]
    pub interval: Interval,
}

/// Page at the payment provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct HostedPage {
    /// Address that the browser is sent to.
    #[schema(value_type = String, format = "uri", example = "https://checkout.stripe.com/c/pay/cs_test_a1b2")]
    pub url: String,
}

/// Plan and subscription of the account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Billing {
    /// Plan in effect.
    pub plan: Plan,
    /// Current subscription, or the last one; `null` if there was none.
    pub subscription: Option<SubscriptionInfo>,
}

/// Subscription at the payment provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SubscriptionInfo {
    /// Subscribed plan; `null` if no plan has the subscription's price.
    pub plan: Option<Plan>,
    /// Status.
    pub status: SubscriptionStatus,
    /// Seats that are paid.
    #[schema(example = 1)]
    pub quantity: Option<i64>,
    /// Start of the current billing period.
    #[schema(example = "2026-03-14T09:26:53Z")]
    pub current_period_start: DateTime<Utc>,
    /// End of the current billing period.
    #[schema(example = "2026-04-14T09:26:53Z")]
    pub current_period_end: DateTime<Utc>,
    /// True if the subscription ends with the period.
    pub cancel_at_period_end: bool,
    /// Time at which the subscription ends, if it is canceled.
    pub cancel_at: Option<DateTime<Utc>>,
    /// End of the trial.
    pub trial_end: Option<DateTime<Utc>>,
    /// Time at which the subscription ended.
    pub ended_at: Option<DateTime<Utc>>,
}

impl From<StoredSubscription> for SubscriptionInfo {
    fn from(stored: StoredSubscription) -> Self {
        Self {
            plan: stored.plan,
            status: stored.status,
            quantity: stored.quantity,
            current_period_start: stored.current_period_start,
            current_period_end: stored.current_period_end,
            cancel_at_period_end: stored.cancel_at_period_end,
            cancel_at: stored.cancel_at,
            trial_end: stored.trial_end,
            ended_at: stored.ended_at,
        }
    }
}

/// A checkout that was begun.
#[derive(Clone, Debug)]
pub(super) struct Checkout {
    pub id: CheckoutId,
    pub stripe_price_id: String,
    pub quantity: i64,
    /// `0` is no trial.
    pub trial_days: i32,
    pub stripe_session_id: Option<String>,
    pub url: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A checkout that is about to begin.
#[derive(Clone, Debug)]
pub(super) struct CheckoutTerms {
    pub user_id: UserId,
    pub stripe_price_id: String,
    pub quantity: i64,
    /// `0` is no trial.
    pub trial_days: i32,
}

impl CheckoutTerms {
    /// Returns whether a checkout that was begun sells the same.
    pub(super) fn fit(&self, checkout: &Checkout) -> bool {
        self.stripe_price_id == checkout.stripe_price_id
            && self.quantity == checkout.quantity
            && self.trial_days == checkout.trial_days
    }
}

/// Invoice as stored.
#[derive(Clone, Debug)]
pub(super) struct ProvidedInvoice {
    pub stripe_invoice_id: String,
    pub stripe_subscription_id: Option<String>,
    pub number: Option<String>,
    pub status: &'static str,
    pub total: i64,
    pub amount_due: i64,
    pub amount_paid: i64,
    pub amount_remaining: i64,
    pub currency: String,
    pub attempt_count: i64,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub hosted_url: Option<String>,
    pub pdf_url: Option<String>,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// Payment intents that pay it.
    pub payment_intents: Vec<String>,
}

/// Path of the page that users return to.
pub(super) const RETURN_PATH: &str = "/billing-return";

/// Page of the service that a user returns to.
pub(super) fn return_page(public_url: &Url, path: &str) -> String {
    let root = public_url.as_str().trim_end_matches('/');
    format!("{root}{path}")
}
