//! The service with a fake Stripe.

use clock::Clock;
use groundwork_dev::Stripe;
use groundwork_dev::stripe::{FaultAction, FaultBody, StripeAccount, StripeFault};

use crate::harness::TestApp;

/// The service, and its account at a fake Stripe.
pub struct StripeApp {
    pub app: TestApp,
    pub account: StripeAccount,
    /// Ends when dropped.
    _stripe: Stripe,
}

/// The service with an account of its own, which `name` tells from others.
pub async fn stripe_app(name: &str) -> StripeApp {
    stripe_app_with(name, &[]).await
}

pub async fn stripe_app_with(name: &str, overrides: &[(&str, &str)]) -> StripeApp {
    let start = "2026-03-14T09:26:53Z".parse().expect("it is a time");
    stripe_app_at(name, overrides, Clock::fixed(start)).await
}

/// The service with another clock than that of every test.
pub async fn stripe_app_at(name: &str, overrides: &[(&str, &str)], clock: Clock) -> StripeApp {
    let stripe = Stripe::start().await;
    let (key, url) = (format!("sk_test_{name}"), stripe.url());
    let mut all = vec![
        ("STRIPE_SECRET_KEY", key.as_str()),
        ("STRIPE_API_URL", url.as_str()),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_test"),
    ];
    all.extend(overrides);
    StripeApp {
        app: TestApp::with_clock(&all, clock).await,
        account: stripe.account(&key),
        _stripe: stripe,
    }
}

/// A fault of the next calls of a method below a path.
pub fn fault(method: &str, path: &str, count: u32, action: FaultAction) -> StripeFault {
    StripeFault {
        method: Some(method.to_owned()),
        path: path.to_owned(),
        skip: 0,
        count,
        action,
    }
}

/// A refusal before any effect.
pub fn status(status: u16) -> FaultAction {
    FaultAction::Status {
        status,
        body: FaultBody::Json,
        headers: Vec::new(),
    }
}
