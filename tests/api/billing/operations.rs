//! What operators see: readiness, metrics, and what `doctor` compares with Stripe.

use serde_json::json;

use super::{API_VERSION, CHECKOUT, billing_app, catalog};
use crate::kit::stripe::StripeApp;
use crate::process::{run, stderr, stdout};

/// The address of the webhook by the settings of the tests.
const ENDPOINT: &str = "http://127.0.0.1/api/v1/webhooks/stripe";

impl StripeApp {
    async fn doctor(&self) -> (String, bool) {
        let output = run(&self.app.settings, &["doctor"]).await;
        (stdout(&output) + &stderr(&output), output.status.success())
    }
}

#[tokio::test]
async fn readiness_reports_a_stripe_that_does_not_respond_as_degraded_and_never_fails() {
    let it = billing_app("ready").await;
    let ada = it.app.sign_in("ada").await;
    let ready = it.app.get("/health/ready").await;
    ready.assert_status(200);
    assert_eq!(ready.body["stripe"], "ok");
    let gone = [
        ("STRIPE_API_URL", "http://127.0.0.1:1"),
        ("STRIPE_TIMEOUT", "1s"),
    ];
    let replica = it.app.another_replica_with(&gone).await;
    let body = Some(json!({ "plan": "pro" }));
    let refused = replica
        .call(reqwest::Method::POST, CHECKOUT, Some(ada.access()), body)
        .await;
    refused.assert_problem(503, "billing_unavailable");
    let ready = replica
        .call(reqwest::Method::GET, "/health/ready", None, None)
        .await;
    ready.assert_status(200);
    assert_eq!(
        (&ready.body["status"], &ready.body["stripe"]),
        (&json!("degraded"), &json!("degraded"))
    );
    // Rows and plans are read without Stripe.
    let shown = replica
        .call(
            reqwest::Method::GET,
            super::SUBSCRIPTION,
            Some(ada.access()),
            None,
        )
        .await;
    shown.assert_status(200);
}

#[tokio::test]
async fn doctor_names_what_differs_at_stripe() {
    let it = billing_app("doctor").await;
    let endpoint = it
        .account
        .add_endpoint(ENDPOINT, "whsec_test", Some(API_VERSION), &["*"]);
    let (report, is_well) = it.doctor().await;
    assert!(is_well, "{report}");
    for check in [
        "Stripe accepts the key",
        "Stripe has the prices as `/pricing` shows them",
        "Stripe has a configuration of the customer portal",
        "Stripe has the webhook endpoint",
    ] {
        assert!(report.contains(&format!("ok     {check}")), "{report}");
    }
    let assert_fault = async |wanted: &str| {
        let (report, is_well) = it.doctor().await;
        assert!(!is_well && report.contains(wanted), "{wanted}: {report}");
    };
    let mut other = catalog();
    other.products[0].prices[0].active = false;
    it.account.seed(&other);
    assert_fault("price_pro: it is archived").await;
    let mut other = catalog();
    other.products[0].prices[0].amount = Some(2_901);
    other.products[0].prices[1].currency = "eur".to_owned();
    it.account.seed(&other);
    assert_fault("price_pro: its amount is 2901, not 2900").await;
    assert_fault("price_pro_year: its currency is eur").await;
    let mut other = catalog();
    other.portal = false;
    it.account.seed(&other);
    assert_fault("FAULT  Stripe has a configuration of the customer portal").await;
    it.account.seed(&catalog());
    let edit = |field: &'static str, value: serde_json::Value| {
        it.account
            .edit_object(&endpoint, "", |it| it[field] = value);
    };
    edit("api_version", json!("2020-08-27"));
    assert_fault("its version is 2020-08-27").await;
    edit("api_version", json!(API_VERSION));
    edit("enabled_events", json!(["invoice.paid"]));
    assert_fault("it is not subscribed to").await;
    edit("enabled_events", json!(["*"]));
    edit("status", json!("disabled"));
    assert_fault("it is disabled").await;
    edit("url", json!("http://127.0.0.1/elsewhere"));
    assert_fault("there is none for http://127.0.0.1/api/v1/webhooks/stripe").await;
}
