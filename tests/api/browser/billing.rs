//! A plan bought in a real browser at the fake Stripe: its checkout and portal pages, and the page that they return to.

use std::time::Duration;

use groundwork_dev::ports;
use groundwork_dev::stripe::{Catalog, CatalogCode};
use serde_json::{Value, json};
use url::Url;

use super::chromium::Browser;
use crate::billing::{CHECKOUT, SUBSCRIPTION, billing_app_with, catalog};
use crate::harness::{Answer, Session};
use crate::kit::stripe::StripeApp;

const FREE_RATE: usize = 100;

/// The service at the address that its pages return to.
async fn start(name: &str) -> StripeApp {
    let address = format!("127.0.0.1:{}", ports::any().expect("a port is free").port);
    let public = format!("http://{address}");
    let settings = [
        ("BIND_ADDR", address.as_str()),
        ("PUBLIC_URL", &public),
        ("PLAN_FREE_RATE", "100"),
        ("PLAN_PRO_RATE", "1000"),
    ];
    let it = billing_app_with(name, &settings).await;
    let welcome = CatalogCode {
        code: "WELCOME".to_owned(),
        percent_off: Some(20.0),
        amount_off: None,
        currency: None,
        duration: "once".to_owned(),
        duration_in_months: None,
    };
    it.account.seed(&Catalog {
        promotion_codes: vec![welcome],
        ..catalog()
    });
    it
}

/// Address of a page that an answer names.
fn page(answer: &Answer) -> Url {
    answer.assert_status(200);
    let url = answer.body["url"].as_str().expect("it has an address");
    url.parse().expect("it is a URL")
}

async fn checkout(buyer: &Session) -> Url {
    page(&buyer.post(CHECKOUT, json!({ "plan": "pro" })).await)
}

async fn plan(buyer: &Session) -> Value {
    let shown = buyer.get(SUBSCRIPTION).await;
    shown.assert_status(200);
    shown.body["plan"].clone()
}

impl Browser {
    async fn reads(&self, selector: &str, part: &str) {
        self.read(selector, |text| text.contains(part)).await;
    }
}

#[tokio::test]
async fn a_plan_is_bought_with_a_code_and_canceled_on_the_pages_of_stripe() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let it = start("pages").await;
    let ada = it.app.sign_in("ada").await;
    let pricing = it.app.get("/api/v1/pricing").await;
    assert!(
        pricing.body.to_string().contains("2900"),
        "{}",
        pricing.body
    );

    browser.open(checkout(&ada).await).await;
    browser.reads(".notice", "No money moves").await;
    browser.reads("#total", "29.00").await;
    browser.type_into("#promotion-code", "WELCOME").await;
    browser.click("#apply").await;
    browser.reads("#total", "23.20").await;
    browser.picture("checkout").await;

    // The clock stands still, so that the limit of the free plan stays used up.
    let mut accepted = 0;
    while ada.get(SUBSCRIPTION).await.status == 200 {
        accepted += 1;
    }
    assert!(accepted <= FREE_RATE, "{accepted}");
    browser.click("#pay").await;
    browser.reads("#message", "Your plan is active").await;
    for _ in 0..=FREE_RATE {
        let shown = ada.get(SUBSCRIPTION).await;
        shown.assert_status(200);
        assert_eq!(shown.body["plan"], "pro", "{}", shown.body);
    }
    it.settle().await;

    let portal = ada.post("/api/v1/billing/portal", json!({})).await;
    browser.open(page(&portal)).await;
    browser.reads("#status", "active").await;
    browser.reads("#invoices", "23.20").await;
    browser.click("#cancel").await;
    browser.see("#resume").await;
    browser.picture("portal").await;
    browser.click("#return").await;
    browser.reads("#message", "close this page").await;
    it.settle().await;
    let shown = ada.get(SUBSCRIPTION).await;
    assert_eq!(shown.body["plan"], "pro", "until the period ends");
    assert!(
        shown.body["subscription"]["cancel_at"].is_string(),
        "{}",
        shown.body
    );

    it.advance(Duration::from_hours(24 * 31)).await;
    it.settle().await;
    let ada = it.app.log_in("ada@example.com").await;
    assert_eq!(plan(&ada).await, "free");
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}

#[tokio::test]
async fn a_checkout_that_is_declined_refused_or_abandoned_buys_nothing() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let it = start("unpaid").await;
    let ada = it.app.sign_in("ada").await;
    let url = checkout(&ada).await;
    browser.open(url.clone()).await;
    browser.click("#decline").await;
    browser.reads("#error", "declined").await;
    assert_eq!(plan(&ada).await, "free");

    browser.click("#authenticate").await;
    browser.click("#fail").await;
    browser.see("#error").await;
    assert_eq!(plan(&ada).await, "free");

    browser.click("#abandon").await;
    browser.reads("#message", "Nothing was bought").await;
    it.settle().await;
    assert_eq!(plan(&ada).await, "free");

    // The page is open until it expires.
    assert_eq!(checkout(&ada).await, url);
    browser.open(url).await;
    browser.click("#authenticate").await;
    browser.click("#approve").await;
    browser.reads("#message", "Your plan is active").await;
    assert_eq!(plan(&ada).await, "pro");
    it.settle().await;
    assert_eq!(browser.complaints().await, [""; 0]);
    browser.close().await;
}
