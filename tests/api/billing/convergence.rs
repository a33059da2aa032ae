//! Rows that follow Stripe, whatever the order, loss and number of events.

use std::time::Duration;

use groundwork_dev::stripe::{FaultAction, Outcome, Release};
use serde_json::json;

use super::{CHECKOUT, billing_app};
use crate::kit::stripe::{StripeApp, fault};

pub const SUBSCRIPTIONS: &str = "/v1/subscriptions";

impl StripeApp {
    /// Ids of the held events of a type.
    fn held_of(&self, kind: &str) -> Vec<String> {
        let events = self.account.events();
        let is_it = |id: &String| {
            events
                .iter()
                .any(|event| event["id"] == **id && event["type"] == kind)
        };
        self.account.held().into_iter().filter(is_it).collect()
    }

    /// Returns from the checkout of a session, as a browser does.
    pub async fn come_back(&self, session: &str) -> String {
        let page = self
            .app
            .get(&format!("/billing-return?session_id={session}"))
            .await;
        page.assert_status(200);
        String::from_utf8_lossy(&page.bytes).into_owned()
    }
}

/// A second subscription of an account's customer, bought by a checkout that the first one should have ended.
fn second(it: &StripeApp, customer: &str) -> String {
    let checkout = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    let session = json!({
        "mode": "subscription", "customer": customer, "success_url": "https://example.com",
        "line_items": [{ "price": "price_enterprise", "quantity": 1 }],
        "metadata": { "checkout_id": checkout },
        "subscription_data": { "metadata": { "checkout_id": checkout } },
    });
    let session = it
        .account
        .call("POST", "/v1/checkout/sessions", &session)
        .expect("it is made");
    let session = session["id"].as_str().expect("an id");
    it.account
        .pay_checkout(session, Outcome::Paid)
        .expect("it is paid");
    it.newest("subscription")
}

#[tokio::test]
async fn an_update_after_the_end_or_in_its_second_revives_nothing() {
    for reversed in [false, true] {
        let it = billing_app(&format!("revived{reversed}")).await;
        let ada = it.app.sign_in("ada").await;
        let id = it.buy(&ada).await;
        it.account.hold();
        let change = json!({ "metadata": { "a": "b" } });
        it.account
            .update_subscription(&id, &change)
            .expect("it is changed");
        it.account.cancel_subscription(&id).expect("it ends");
        let order = if reversed {
            Release::Reversed
        } else {
            Release::AsSent
        };
        it.account.release(&order);
        it.settle().await;
        let mut updated = it.account.events().into_iter();
        let updated = updated.rfind(|event| event["type"] == "customer.subscription.updated");
        let updated = updated.expect("there is one");
        it.account
            .resend(updated["id"].as_str().expect("an id"), true, None)
            .expect("it is sent");
        it.settle().await;
        assert_eq!(it.statuses().await, ["canceled"]);
        assert_eq!(ada.plan().await, "free");
        assert_eq!(it.notices().await, ["ended", "receipt"]);
    }
}

#[tokio::test]
async fn an_invoice_that_is_paid_before_its_subscription_is_known_is_stored() {
    let it = billing_app("early").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    it.settle().await;
    it.account.hold();
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    let paid = it.held_of("invoice.paid");
    assert_eq!(paid.len(), 1);
    it.account.release(&Release::Given(paid));
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(it.count("invoices").await, 1);
    let statuses: Vec<String> = it.read("SELECT status FROM payments").await;
    assert_eq!(statuses, ["succeeded"]);
    assert_eq!(ada.plan().await, "pro");
}

#[tokio::test]
async fn of_two_checkouts_that_are_paid_the_second_is_ended_and_refunded() {
    for is_lost in [false, true] {
        let it = billing_app(&format!("twice{is_lost}")).await;
        let ada = it.app.sign_in("ada").await;
        let first = it.buy(&ada).await;
        let second = second(&it, &it.newest("customer"));
        if is_lost {
            it.account.fault(fault(
                "DELETE",
                SUBSCRIPTIONS,
                2,
                FaultAction::CutAfterEffect,
            ));
            it.account
                .fault(fault("POST", "/v1/refunds", 1, FaultAction::CutAfterEffect));
        }
        it.settle().await;
        assert_eq!(
            it.account.object(&first).expect("it is there")["status"],
            "active"
        );
        assert_eq!(
            it.account.object(&second).expect("it is there")["status"],
            "canceled"
        );
        let refunds = it.account.objects("refund");
        assert_eq!(refunds.len(), 1);
        assert_eq!(refunds[0]["amount"], 29_900);
        assert_eq!(it.statuses().await, ["active", "canceled"]);
        assert_eq!(ada.plan().await, "pro");
        let notices = it.notices().await;
        let about = |fact: &str| notices.iter().filter(|it| *it == fact).count();
        assert_eq!(
            (about("duplicate_ended"), about("ended")),
            (1, 0),
            "{notices:?}"
        );
        assert_eq!(it.app.audited("duplicate_subscription_ended").await, 1);
        let refunded: Vec<String> = it
            .read("SELECT detailed_status FROM payments WHERE amount = 29900")
            .await;
        assert_eq!(refunded, ["refunded"]);
    }
}

#[tokio::test]
async fn a_second_subscription_whose_payment_is_disputed_ends_without_a_refund() {
    let it = billing_app("disputed").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let second = second(&it, &it.newest("customer"));
    it.account
        .dispute(&it.newest("charge"), "fraudulent")
        .expect("it is disputed");
    it.settle().await;
    let ended = it.account.object(&second).expect("it is there");
    assert_eq!(ended["status"], "canceled");
    assert!(it.account.objects("refund").is_empty());
    assert_eq!(it.app.audited("duplicate_subscription_ended").await, 1);
}

#[tokio::test]
async fn a_second_subscription_that_is_found_late_is_only_reported() {
    let it = billing_app("aged").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    it.account.hold();
    let second = second(&it, &it.newest("customer"));
    it.advance_days(8).await;
    it.account.release(&Release::AsSent);
    it.settle().await;
    let running = it.account.object(&second).expect("it is there");
    assert_eq!(running["status"], "active");
    assert!(it.account.objects("refund").is_empty());
    assert_eq!(it.statuses().await, ["active", "active"]);
}

#[tokio::test]
async fn subscriptions_that_were_made_at_stripe_are_reported_and_go_on() {
    let it = billing_app("made").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let customer = it.newest("customer");
    let made = json!({ "customer": customer, "items": [{ "price": "price_enterprise" }],
        "default_payment_method": it.newest("payment_method") });
    it.account
        .call("POST", SUBSCRIPTIONS, &made)
        .expect("it is made");
    it.settle().await;
    assert_eq!(it.statuses().await, ["active", "active"]);
    assert_eq!(ada.plan().await, "pro");
    assert!(it.account.objects("refund").is_empty());
}

#[tokio::test]
async fn objects_that_cannot_be_read_hide_no_others() {
    let it = billing_app("odd").await;
    let (ada, bob) = (it.app.sign_in("ada").await, it.app.sign_in("bob").await);
    let id = it.buy(&ada).await;
    let customer = it.newest("customer");
    let made = json!({ "customer": customer, "items": [{ "price": "price_other" }],
        "default_payment_method": it.newest("payment_method") });
    it.account
        .call("POST", SUBSCRIPTIONS, &made)
        .expect("it is made");
    it.settle().await;
    let odd = it.newest("subscription");
    it.account
        .edit_object(&odd, "customer.subscription.updated", |it| {
            it["items"] = json!("much");
        });
    it.account
        .edit_object(&it.newest("invoice"), "invoice.updated", |it| {
            it["total"] = json!("much");
        });
    it.account.cancel_subscription(&id).expect("it ends");
    it.buy(&bob).await;
    assert_eq!(it.statuses().await, ["canceled", "active", "active"]);
    assert_eq!(
        (ada.plan().await, bob.plan().await),
        ("free".to_owned(), "pro".to_owned())
    );
}

#[tokio::test]
async fn a_price_or_a_status_that_is_unknown_gives_nothing() {
    let it = billing_app("unknown").await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    let set_price = async |price: &str| {
        it.account
            .edit_object(&id, "customer.subscription.updated", |it| {
                it["items"]["data"][0]["price"]["id"] = json!(price);
            });
        it.settle().await;
    };
    set_price("price_other").await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(ada.plan().await, "free");
    let refused = ada.post(CHECKOUT, json!({ "plan": "pro" })).await;
    refused.assert_problem(409, "already_subscribed");
    set_price("price_pro_former").await;
    assert_eq!(ada.plan().await, "pro");
    for (status, plan) in [
        ("incomplete", "free"),
        ("active", "pro"),
        ("unpaid", "free"),
        ("trialing", "pro"),
        ("paused", "free"),
        ("past_due", "pro"),
        ("hibernating", "free"),
    ] {
        it.account
            .edit_object(&id, "customer.subscription.updated", |it| {
                it["status"] = json!(status);
            });
        it.settle().await;
        assert_eq!(ada.plan().await, plan, "{status}");
    }
    let statuses = it.statuses().await;
    assert_eq!(statuses, ["unknown"]);
}

#[tokio::test]
async fn a_slow_read_never_replaces_a_newer_one() {
    let it = billing_app("overtaken").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    it.settle().await;
    let id = it.newest("subscription");
    it.account.hold();
    it.account.clear_requests();
    it.account.fault(fault(
        "GET",
        SUBSCRIPTIONS,
        1,
        FaultAction::DelayAnswer(2_000),
    ));
    let slow = it.come_back(&session);
    let newer = async {
        while it.account.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The slow one has read the subscription while it was active.
        tokio::time::sleep(Duration::from_millis(200)).await;
        it.account.cancel_subscription(&id).expect("it ends");
        it.come_back(&session).await;
        assert_eq!(it.statuses().await, ["canceled"]);
    };
    let (page, ()) = tokio::join!(slow, newer);
    assert!(page.contains("Nothing was bought"), "{page}");
    assert_eq!(it.statuses().await, ["canceled"]);
    let reads = it
        .account
        .requests()
        .iter()
        .filter(|call| call.path == SUBSCRIPTIONS)
        .count();
    assert_eq!(reads, 3, "the slow one is repeated");
    it.account.release(&Release::AsSent);
    it.settle().await;
    assert_eq!(ada.plan().await, "free");
}
