//! Stripe, checkout and the customer portal.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use settings::{List, Setting, WebUrl};
use url::{Host, Url};

settings::settings! {
    "Billing": "Without `STRIPE_SECRET_KEY` nothing can be bought: the routes respond 503 `billing_not_configured`, and all else works. [billing.md](billing.md) has the steps to go live.", BillingSettings {
        /// Secret or restricted key of Stripe: `sk_test_…`, `sk_live_…`, `rk_…`.
        STRIPE_SECRET_KEY => secret_key: Option<StripeKey>, secret, production(StripeKey::is_live, "must be a key of live mode");
        /// Where Stripe is called.
        STRIPE_API_URL => api_url: WebUrl = "https://api.stripe.com", production(is_safe, "must be `https`, except on this machine");
        /// Signing secrets of the webhook endpoint, `whsec_…`: the current one and, while it is replaced, the previous
        /// one. Required with `STRIPE_SECRET_KEY`.
        STRIPE_WEBHOOK_SECRETS => webhook_secrets: List<WebhookSecret>, secret;
        /// For one call with its retries.
        STRIPE_TIMEOUT => timeout: Duration = "8s", within("1s"..="30s");
        /// Calls a second of one process. Stripe allows 25 in test mode and 100 in live mode.
        STRIPE_CALLS_PER_SECOND => calls_per_second: u32 = 20, within(1..=1000);
        /// How long raw webhook events are kept. They contain personal data.
        STRIPE_EVENT_RETENTION => event_retention: Duration = "30d", within("1d"..="365d");
        /// How long checkouts are kept after they were begun.
        CHECKOUT_RETENTION => checkout_retention: Duration = "90d", within("2d"..="730d");
        /// How long the hours of billed usage are kept.
        BILLED_USAGE_RETENTION => billed_usage_retention: Duration = "90d", within("40d"..="730d");
        /// Page of the product that users return to from checkout and the portal. By default a page of this service.
        BILLING_RETURN_URL => return_url: Option<WebUrl>;
        /// Days of the free trial of an account's first subscription; `0` is none.
        BILLING_TRIAL_DAYS => trial_days: u32 = 0, within(0..=365);
        /// Whether a trial requires a payment method. Otherwise it ends in status `paused` without one.
        BILLING_TRIAL_NEEDS_CARD => trial_needs_card: bool = true;
        /// Whether checkout has a field for promotion codes.
        BILLING_PROMOTION_CODES => promotion_codes: bool = true;
        /// Whether Stripe Tax computes taxes, and checkout collects the address and tax id that it needs.
        BILLING_AUTOMATIC_TAX => automatic_tax: bool = false;
        /// Configuration of the customer portal, `bpc_…`. By default the one that is marked as default at Stripe.
        STRIPE_PORTAL_CONFIGURATION => portal_configuration: Option<PortalConfiguration>;
        /// Meter of requests, `mtr_…`: the last value of an hour counts. Without one usage is not billed.
        STRIPE_METER_ID => meter_id: Option<MeterId>;
        /// Name of its events. Required with `STRIPE_METER_ID`.
        STRIPE_METER_EVENT_NAME => meter_event_name: Option<MeterEventName>;
    }
}

/// Billing at Stripe.
#[derive(Clone, Debug)]
pub struct BillingConfig {
    /// `None` disables billing.
    pub secret_key: Option<SecretString>,
    pub api_url: Url,
    /// The current one and the previous one.
    pub webhook_secrets: Vec<SecretString>,
    /// For one call with its retries.
    pub timeout: Duration,
    pub calls_per_second: u32,
    pub event_retention: Duration,
    pub checkout_retention: Duration,
    pub billed_usage_retention: Duration,
    /// Of this service.
    pub public_url: Url,
    /// Page of the product.
    pub return_url: Option<Url>,
    /// `0` is none.
    pub trial_days: u32,
    pub trial_needs_card: bool,
    pub promotion_codes: bool,
    pub automatic_tax: bool,
    pub portal_configuration: Option<String>,
    /// `None` does not bill usage.
    pub meter: Option<Meter>,
}

/// Meter at Stripe.
#[derive(Clone, Debug)]
pub struct Meter {
    pub id: String,
    pub event_name: String,
}

impl BillingSettings {
    pub(super) fn into_config(self, public_url: Url) -> Option<BillingConfig> {
        Some(BillingConfig {
            secret_key: self.secret_key?,
            api_url: self.api_url?,
            webhook_secrets: self.webhook_secrets?,
            timeout: self.timeout?,
            calls_per_second: self.calls_per_second?,
            event_retention: self.event_retention?,
            checkout_retention: self.checkout_retention?,
            billed_usage_retention: self.billed_usage_retention?,
            public_url,
            return_url: self.return_url?,
            trial_days: self.trial_days?,
            trial_needs_card: self.trial_needs_card?,
            promotion_codes: self.promotion_codes?,
            automatic_tax: self.automatic_tax?,
            portal_configuration: self.portal_configuration?,
            meter: self
                .meter_id?
                .zip(self.meter_event_name?)
                .map(|(id, event_name)| Meter { id, event_name }),
        })
    }
}

/// Secret or restricted key of Stripe's API.
#[derive(Debug)]
pub(super) struct StripeKey;

impl StripeKey {
    fn is_live(key: &SecretString) -> bool {
        let key = key.expose_secret();
        key.starts_with("sk_live_") || key.starts_with("rk_live_")
    }
}

impl Setting for StripeKey {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        let prefixes = ["sk_test_", "sk_live_", "rk_test_", "rk_live_"];
        let rest = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
        let is_key = rest.is_some_and(is_token);
        is_key
            .then(|| text.into())
            .ok_or_else(|| "must be a secret key of Stripe, such as sk_test_…".to_owned())
    }
}

/// Signing secret of a webhook endpoint.
#[derive(Debug)]
pub(super) struct WebhookSecret;

impl Setting for WebhookSecret {
    type Value = SecretString;

    fn parse(text: &str) -> Result<SecretString, String> {
        let is_secret = text.strip_prefix("whsec_").is_some_and(is_token);
        is_secret
            .then(|| text.into())
            .ok_or_else(|| "must be signing secrets such as whsec_…".to_owned())
    }
}

/// Id of a configuration of the customer portal.
#[derive(Debug)]
pub(super) struct PortalConfiguration;

impl Setting for PortalConfiguration {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let is_id = text.strip_prefix("bpc_").is_some_and(is_token);
        is_id
            .then(|| text.to_owned())
            .ok_or_else(|| "must be the id of a configuration, such as bpc_1Qx2".to_owned())
    }
}

/// Id of a meter.
#[derive(Debug)]
pub(super) struct MeterId;

impl Setting for MeterId {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let is_id = text.strip_prefix("mtr_").is_some_and(is_token);
        is_id
            .then(|| text.to_owned())
            .ok_or_else(|| "must be the id of a meter, such as mtr_1Qx2".to_owned())
    }
}

/// Name of a meter's events.
#[derive(Debug)]
pub(super) struct MeterEventName;

impl Setting for MeterEventName {
    type Value = String;

    fn parse(text: &str) -> Result<String, String> {
        let is_name = is_token(text) && text.len() <= 100;
        is_name
            .then(|| text.to_owned())
            .ok_or_else(|| "must be the name of a meter's events, such as requests".to_owned())
    }
}

fn is_token(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+/=-".contains(&byte);
    (1..=250).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Plain http can be read by others on the way, except to this machine itself.
fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || is_loopback
}
