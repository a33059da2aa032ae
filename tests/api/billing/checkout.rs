//! Checkout: what it sells, what it refuses, and one session and one customer whatever is lost.

use std::time::{Duration, Instant};

use groundwork_dev::stripe::{FaultAction, Outcome};
use reqwest::Method;
use serde_json::{Value, json};

use super::{CHECKOUT, SUBSCRIPTION, billing_app, billing_app_with, catalog};
use crate::harness::Session;
use crate::kit::stripe::{StripeApp, fault, status};

const SESSIONS: &str = "/v1/checkout/sessions";
const CUSTOMERS: &str = "/v1/customers";

impl StripeApp {
    fn session(&self) -> Value {
        self.account
            .objects("checkout.session")
            .pop()
            .expect("there is a session")
    }

    /// The form of the newest call that created a session.
    fn session_form(&self) -> Value {
        let mut calls = self.account.requests().into_iter();
        let made = calls.rfind(|call| call.method == "POST" && call.path == SESSIONS);
        made.expect("there is a call").form
    }
}

impl Session {
    async fn check_out(&self, body: Value) -> crate::harness::Answer {
        self.post(CHECKOUT, body).await
    }
}

#[tokio::test]
async fn a_checkout_sells_the_price_of_the_settings_and_the_return_makes_it_active() {
    let it = billing_app("sold").await;
    let ada = it.app.sign_in("ada").await;
    let answer = ada.check_out(json!({ "plan": "pro" })).await;
    answer.assert_status(200);
    let session = it.session();
    assert_eq!(answer.body, json!({ "url": session["url"] }));
    let form = it.session_form();
    assert_eq!(form["mode"], "subscription");
    assert_eq!(
        form["line_items"]["0"]["price"]
            .as_str()
            .or(form["line_items"][0]["price"].as_str()),
        Some("price_pro")
    );
    assert_eq!(form["allow_promotion_codes"], "true");
    let customer = &it.account.objects("customer")[0];
    assert_eq!(customer["email"], "ada@example.com");
    assert_eq!(customer["metadata"]["account_id"], ada.user_id().await);
    let shown = ada.get(SUBSCRIPTION).await;
    assert_eq!(shown.body, json!({ "plan": "free", "subscription": null }));
    assert_eq!(it.app.audited("checkout_started").await, 1);

    // No webhook comes.
    it.account.hold();
    let id = session["id"].as_str().expect("an id");
    assert!(it.come_back(id).await.contains("Nothing was bought"));
    assert!(
        it.come_back("cs_test_unknown")
            .await
            .contains("Nothing was bought")
    );
    let page = it.app.get("/billing-return").await;
    page.assert_status(200);
    it.account
        .pay_checkout(id, Outcome::Paid)
        .expect("it is paid");
    assert!(it.come_back(id).await.contains("Your plan is active"));
    let shown = ada.get(SUBSCRIPTION).await;
    assert_eq!(shown.body["plan"], "pro");
    let subscription = &shown.body["subscription"];
    assert_eq!(
        (&subscription["status"], &subscription["quantity"]),
        (&json!("active"), &json!(1))
    );
    assert!(subscription.get("stripe_subscription_id").is_none());

    // The page says so as well while Stripe is away and the plan is stored.
    it.account
        .fault(fault("GET", "/v1/subscriptions", 10, status(429)));
    assert!(it.come_back(id).await.contains("Your plan is active"));
    it.account.clear_faults();
    let refused = ada.check_out(json!({ "plan": "enterprise" })).await;
    refused.assert_problem(409, "already_subscribed");
}

#[tokio::test]
async fn a_return_leads_on_to_the_page_of_the_product() {
    let settings = [("BILLING_RETURN_URL", "https://app.example.com/plan")];
    let it = billing_app_with("led", &settings).await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    let path = format!("/billing-return?session_id={session}");
    let open = it.app.get(&path).await;
    open.assert_status(303);
    assert_eq!(
        open.headers["location"],
        "https://app.example.com/plan?checkout=open"
    );
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    let complete = it.app.get(&path).await;
    assert_eq!(
        complete.headers["location"],
        "https://app.example.com/plan?checkout=complete"
    );
    it.settle().await;
}

#[tokio::test]
async fn bodies_that_name_a_price_an_amount_or_what_is_not_for_sale_never_reach_stripe() {
    let it = billing_app("refused").await;
    let ada = it.app.sign_in("ada").await;
    for (field, body) in [
        ("price", json!({ "plan": "pro", "price": "price_pro" })),
        (
            "price_id",
            json!({ "plan": "pro", "price_id": "price_pro" }),
        ),
        ("amount", json!({ "plan": "pro", "amount": 1 })),
        ("currency", json!({ "plan": "pro", "currency": "USD" })),
        (
            "success_url",
            json!({ "plan": "pro", "success_url": "https://evil.example" }),
        ),
        (
            "return_url",
            json!({ "plan": "pro", "return_url": "https://evil.example" }),
        ),
        ("quantity", json!({ "plan": "pro", "quantity": 0 })),
        ("plan", json!({ "plan": "free" })),
        ("plan", json!({ "plan": "gold" })),
        ("plan", json!({ "plan": 1 })),
        ("plan", json!({})),
        (
            "interval",
            json!({ "plan": "enterprise", "interval": "year" }),
        ),
        ("interval", json!({ "plan": "pro", "interval": "week" })),
    ] {
        let refused = ada.check_out(body.clone()).await;
        assert_eq!(refused.status, 422, "{body}: {}", refused.body);
        refused.assert_field(field);
    }
    assert!(it.account.requests().is_empty(), "Stripe sees no call");
    assert_eq!(it.count("checkouts").await, 0);
    assert_eq!(it.count("billing_customers").await, 0);
}

#[tokio::test]
async fn the_same_checkout_is_returned_and_another_one_ends_it() {
    let it = billing_app("again").await;
    let ada = it.app.sign_in("ada").await;
    let first = ada.check_out(json!({ "plan": "pro" })).await;
    let again = ada
        .check_out(json!({ "plan": "pro", "interval": "month" }))
        .await;
    again.assert_status(200);
    assert_eq!(first.body, again.body);
    assert_eq!(it.account.objects("checkout.session").len(), 1);
    let yearly = ada
        .check_out(json!({ "plan": "pro", "interval": "year" }))
        .await;
    yearly.assert_status(200);
    assert_ne!(first.body, yearly.body);
    let sessions = it.account.objects("checkout.session");
    let statuses: Vec<_> = sessions.iter().map(|it| it["status"].clone()).collect();
    assert_eq!(statuses, ["expired", "open"]);
    let id = sessions[1]["id"].as_str().expect("an id");
    it.account
        .pay_checkout(id, Outcome::Paid)
        .expect("it is paid");
    // The first one was paid in the meantime: the second request learns of the subscription.
    let late = ada.check_out(json!({ "plan": "enterprise" })).await;
    late.assert_problem(409, "already_subscribed");
    it.settle().await;
    let prices: Vec<String> = it.read("SELECT stripe_price_id FROM subscriptions").await;
    assert_eq!(prices, ["price_pro_year"]);
    assert_eq!(ada.plan().await, "pro");
    assert_eq!(it.account.objects("subscription").len(), 1);
    // By the price: ids of one millisecond are in any order.
    let statuses = "SELECT status FROM checkouts ORDER BY stripe_price_id";
    let statuses: Vec<String> = it.read(statuses).await;
    assert_eq!(statuses, ["expired", "complete"]);
    assert_eq!(it.account.objects("customer").len(), 1);
}

#[tokio::test]
async fn a_session_that_expired_is_replaced() {
    let it = billing_app("expired").await;
    let ada = it.app.sign_in("ada").await;
    let first = it.start(&ada).await;
    it.advance(Duration::from_hours(25)).await;
    it.settle().await;
    let ada = it.app.log_in("ada@example.com").await;
    let second = it.start(&ada).await;
    assert_ne!(first, second);
    let statuses: Vec<String> = it.read("SELECT status FROM checkouts ORDER BY id").await;
    assert_eq!(statuses, ["expired", "open"]);
    // It was declined and abandoned: the account stays free.
    it.account
        .pay_checkout(&second, Outcome::Declined)
        .expect_err("it is declined");
    it.settle().await;
    assert_eq!(ada.plan().await, "free");
    assert!(it.statuses().await.is_empty());
}

#[tokio::test]
async fn an_account_has_one_trial() {
    let it = billing_app_with("trial", &[("BILLING_TRIAL_DAYS", "14")]).await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    assert_eq!(it.statuses().await, ["trialing"]);
    assert_eq!(ada.plan().await, "pro");
    let shown = ada.get(SUBSCRIPTION).await;
    assert!(shown.body["subscription"]["trial_end"].is_string());
    it.account.cancel_subscription(&id).expect("it ends");
    it.settle().await;
    it.buy(&ada).await;
    assert_eq!(it.statuses().await, ["canceled", "active"]);
    let form = it.session_form();
    assert!(
        form["subscription_data"].get("trial_period_days").is_none(),
        "{form}"
    );
}

#[tokio::test]
async fn a_trial_without_a_card_and_checkouts_without_codes_are_settings() {
    let settings = [
        ("BILLING_TRIAL_DAYS", "7"),
        ("BILLING_TRIAL_NEEDS_CARD", "false"),
        ("BILLING_PROMOTION_CODES", "false"),
        ("BILLING_AUTOMATIC_TAX", "true"),
    ];
    let it = billing_app_with("settings", &settings).await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let form = it.session_form();
    assert_eq!(form["allow_promotion_codes"], "false");
    assert_eq!(form["payment_method_collection"], "if_required");
    assert_eq!(form["automatic_tax"]["enabled"], "true");
    assert_eq!(form["tax_id_collection"]["enabled"], "true");
    assert_eq!(it.statuses().await, ["trialing"]);
    it.advance_days(8).await;
    it.settle().await;
    assert_eq!(it.statuses().await, ["paused"]);
    let ada = it.app.log_in("ada@example.com").await;
    assert_eq!(ada.plan().await, "free");
}

#[tokio::test]
async fn a_response_that_is_lost_or_late_costs_no_second_customer_or_session() {
    for (name, action) in [
        ("cut", FaultAction::CutAfterEffect),
        ("error", FaultAction::ErrorAfterEffect),
        ("before", FaultAction::CutBefore),
        ("500", status(500)),
        ("503", status(503)),
        ("429", status(429)),
        ("slow", FaultAction::Delay(3_000)),
        ("late", FaultAction::DelayAnswer(3_000)),
    ] {
        for path in [CUSTOMERS, SESSIONS] {
            let settings = [("STRIPE_TIMEOUT", "1s")];
            let it = billing_app_with(&format!("{name}{}", path.len()), &settings).await;
            let ada = it.app.sign_in("ada").await;
            // Also all tries of one call.
            it.account.fault(fault("POST", path, 20, action.clone()));
            let began = Instant::now();
            let refused = ada.check_out(json!({ "plan": "pro" })).await;
            assert!(began.elapsed() < Duration::from_secs(10), "{name} {path}");
            let is_found = refused.status == 200;
            if !is_found {
                refused.assert_problem(503, "billing_unavailable");
            }
            it.account.clear_faults();
            if action_is_slow(name) {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            it.advance(Duration::from_secs(1)).await;
            // An error that Stripe keeps under its key costs one request more at most.
            let mut answer = ada.check_out(json!({ "plan": "pro" })).await;
            if answer.status == 503 {
                answer = ada.check_out(json!({ "plan": "pro" })).await;
            }
            assert_eq!(answer.status, 200, "{name} {path}: {}", answer.body);
            assert_eq!(it.account.objects("customer").len(), 1, "{name} {path}");
            assert_eq!(
                it.account.objects("checkout.session").len(),
                1,
                "{name} {path}"
            );
            let open = it.session();
            assert_eq!(answer.body["url"], open["url"]);
            let id = open["id"].as_str().expect("an id");
            it.account
                .pay_checkout(id, Outcome::Paid)
                .expect("it is paid");
            it.settle().await;
            assert_eq!(ada.plan().await, "pro");
        }
    }
}

fn action_is_slow(name: &str) -> bool {
    matches!(name, "slow" | "late")
}

#[tokio::test]
async fn a_refusal_of_the_settings_says_so_and_the_next_request_after_their_correction_works() {
    let it = billing_app("settings_refused").await;
    let ada = it.app.sign_in("ada").await;
    let mut archived = catalog();
    archived.products[0].prices[0].active = false;
    it.account.seed(&archived);
    let refused = ada.check_out(json!({ "plan": "pro" })).await;
    refused.assert_problem(503, "billing_misconfigured");
    it.account.seed(&catalog());
    it.buy(&ada).await;
    assert_eq!(ada.plan().await, "pro");
    it.account
        .fault(fault("POST", "/v1/billing_portal", 1, status(401)));
    let refused = ada.post("/api/v1/billing/portal", json!({})).await;
    refused.assert_problem(503, "billing_misconfigured");
}

#[tokio::test]
async fn a_key_needs_the_scope_and_another_account_buys_for_itself() {
    let it = billing_app("scoped").await;
    let (ada, eve) = (it.app.sign_in("ada").await, it.app.sign_in("eve").await);
    for (scope, expected) in [
        ("billing:read", 403),
        ("usage:write", 403),
        ("billing:write", 200),
    ] {
        let key = ada.new_key(&[scope]).await;
        let body = Some(json!({ "plan": "pro" }));
        let answer = it
            .app
            .replica
            .call(Method::POST, CHECKOUT, Some(&key.text), body)
            .await;
        assert_eq!(answer.status, expected, "{scope}: {}", answer.body);
    }
    it.settle().await;
    let session = it.newest("checkout.session");
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    it.settle().await;
    assert_eq!(
        (ada.plan().await, eve.plan().await),
        ("pro".to_owned(), "free".to_owned())
    );
    let shown = eve.get(SUBSCRIPTION).await;
    assert_eq!(shown.body["subscription"], Value::Null);
    for (path, code) in [
        ("cancel", "nothing_to_cancel"),
        ("resume", "nothing_to_resume"),
        ("portal", "nothing_to_manage"),
    ] {
        let refused = eve
            .post(&format!("/api/v1/billing/{path}"), json!({}))
            .await;
        refused.assert_problem(409, code);
    }
    assert_ne!(it.start(&eve).await, session);
    assert_eq!(it.account.objects("customer").len(), 2);
    let anonymous = it.app.post(CHECKOUT, json!({ "plan": "pro" })).await;
    anonymous.assert_status(401);
}
