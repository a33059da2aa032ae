//! Rows that follow Stripe, whatever the order, loss and number of events.

use std::time::Duration;

use groundwork_dev::stripe::{FaultAction, Outcome, Release};
use serde_json::{Value, json};

use super::{CHECKOUT, billing_app};
use crate::kit::stripe::{StripeApp, fault, status};
use crate::process::{run, stderr, stdout};

const SUBSCRIPTIONS: &str = "/v1/subscriptions";

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

    /// Output of a command of billing, and whether it succeeded.
    async fn command(&self, args: &[&str]) -> (String, bool) {
        let output = run(&self.app.settings, &[&["billing"], args].concat()).await;
        assert!(
            output.status.code().is_some_and(|code| code < 2),
            "{}",
            stderr(&output)
        );
        (stdout(&output) + &stderr(&output), output.status.success())
    }

    async fn run_reconciliation(&self, is_dry: bool) -> (String, bool) {
        let apply: &[&str] = if is_dry { &[] } else { &["--apply"] };
        self.command(&[&["reconcile"], apply].concat()).await
    }
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
        let updated = it.account.events().into_iter();
        let updated = updated
            .filter(|event| event["type"] == "customer.subscription.updated")
            .next_back();
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
async fn a_reconciliation_finds_what_no_event_told() {
    let it = billing_app("lost").await;
    let (ada, bob) = (it.app.sign_in("ada").await, it.app.sign_in("bob").await);
    let id = it.buy(&ada).await;
    it.buy(&bob).await;
    let (report, is_same) = it.run_reconciliation(true).await;
    assert!(
        is_same && report.contains("2 accounts, 0 different, 0 not compared"),
        "{report}"
    );
    it.account.drop_next(100);
    it.account.cancel_subscription(&id).expect("it ends");
    it.settle().await;
    assert_eq!(ada.plan().await, "pro");
    let (report, is_same) = it.run_reconciliation(true).await;
    assert!(
        !is_same && report.contains(&id) && report.contains("1 different"),
        "{report}"
    );
    assert!(report.contains(&ada.user_id().await), "{report}");
    assert_eq!(ada.plan().await, "pro");
    assert_eq!(it.statuses().await, ["active", "active"]);
    let (report, is_repaired) = it.run_reconciliation(false).await;
    assert!(is_repaired, "{report}");
    it.settle().await;
    assert_eq!(it.statuses().await, ["canceled", "active"]);
    // Another process has changed it: the cached value lives for 30 seconds.
    it.app.clock.advance(Duration::from_secs(31));
    let (_, is_same) = it.run_reconciliation(true).await;
    assert!(is_same);
    assert_eq!(
        it.notices()
            .await
            .iter()
            .filter(|fact| *fact == "ended")
            .count(),
        1
    );
}

#[tokio::test]
async fn events_whose_jobs_are_lost_are_replayed() {
    let it = billing_app("replay").await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    it.account.cancel_subscription(&id).expect("it ends");
    let charge = it.newest("charge");
    it.account
        .dispute(&charge, "fraudulent")
        .expect("it is disputed");
    it.account.delivered().await;
    sqlx::query("DELETE FROM graphile_worker._private_jobs")
        .execute(&it.app.owner_db)
        .await
        .expect("they are lost");
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    let (report, is_done) = it.command(&["replay"]).await;
    assert!(is_done, "{report}");
    it.settle().await;
    assert_eq!(it.statuses().await, ["canceled"]);
    let waiting: i64 = it.count("stripe_events WHERE processed_at IS NULL").await;
    assert_eq!(waiting, 0);
    let disputed: Vec<String> = it.read("SELECT detailed_status FROM payments").await;
    assert_eq!(disputed, ["disputed"]);

    it.account.drop_next(100);
    let change = json!({ "metadata": { "a": "b" } });
    it.account.update_subscription(&id, &change).ok();
    let since = (it.app.clock.now() - chrono::TimeDelta::hours(1)).to_rfc3339();
    it.account.clear_requests();
    let (report, is_done) = it.command(&["replay", "--since", &since]).await;
    assert!(
        is_done && report.contains("events of 1 customers"),
        "{report}"
    );
    it.settle().await;
    let reads = it
        .account
        .requests()
        .iter()
        .filter(|call| call.path == SUBSCRIPTIONS)
        .count();
    assert_eq!(reads, 1, "one read for all events of a customer");
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
async fn subscriptions_that_were_made_at_stripe_are_reported_and_go_on() {
    let it = billing_app("made").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let customer = it.newest("customer");
    let made = json!({ "customer": customer, "items": [{ "price": "price_enterprise" }] });
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
    let made = json!({ "customer": customer, "items": [{ "price": "price_other" }] });
    it.account
        .call("POST", SUBSCRIPTIONS, &made)
        .expect("it is made");
    it.settle().await;
    let odd = it.newest("subscription");
    it.account
        .edit_object(&odd, "customer.subscription.updated", |it| {
            it["items"] = json!("much")
        });
    it.account
        .edit_object(&it.newest("invoice"), "invoice.updated", |it| {
            it["total"] = json!("much")
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
async fn a_customer_that_is_deleted_at_stripe_ends_its_subscription_and_the_next_is_new() {
    for is_lost in [false, true] {
        let it = billing_app(&format!("gone{is_lost}")).await;
        let ada = it.app.sign_in("ada").await;
        it.buy(&ada).await;
        let gone = it.newest("customer");
        if is_lost {
            it.account.drop_next(1_000);
        }
        it.account.delete_customer(&gone).expect("it is deleted");
        if is_lost {
            let (report, _) = it.run_reconciliation(false).await;
            assert!(report.contains("1 different"), "{report}");
            it.account.drop_next(0);
            it.app.clock.advance(Duration::from_secs(31));
        }
        it.settle().await;
        assert_eq!(it.statuses().await, ["canceled"]);
        assert_eq!(ada.plan().await, "free");
        it.buy(&ada).await;
        let customers = it.account.objects("customer");
        assert_eq!(customers.len(), 2);
        assert_eq!(it.statuses().await, ["canceled", "active"]);
        assert_eq!(ada.plan().await, "pro");
        let (report, is_same) = it.run_reconciliation(true).await;
        assert!(is_same, "{report}");
    }
}

#[tokio::test]
async fn a_checkout_that_was_open_when_the_customer_was_deleted_is_no_longer_offered() {
    let it = billing_app("abandoned").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    it.account
        .delete_customer(&it.newest("customer"))
        .expect("it is deleted");
    it.settle().await;
    let other = it.start(&ada).await;
    assert_ne!(session, other);
    it.account
        .pay_checkout(&other, Outcome::Paid)
        .expect("it is paid");
    it.settle().await;
    assert_eq!(ada.plan().await, "pro");
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

#[tokio::test]
async fn a_job_that_fails_is_tried_again_and_keeps_no_other_customer_waiting() {
    let it = billing_app("failing").await;
    let (ada, bob) = (it.app.sign_in("ada").await, it.app.sign_in("bob").await);
    let session = it.start(&ada).await;
    it.settle().await;
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    it.account.delivered().await;
    it.account
        .fault(fault("GET", SUBSCRIPTIONS, 3, status(429)));
    it.app.hurry_jobs().await;
    it.app.run_jobs().await;
    assert_eq!(it.statuses().await, Vec::<String>::new());
    let waiting = it.count("stripe_events WHERE processed_at IS NULL").await;
    assert!(waiting > 0, "the events wait");
    it.account.clear_faults();
    it.buy(&bob).await;
    assert_eq!(it.statuses().await, ["active", "active"]);
    assert_eq!(
        (ada.plan().await, bob.plan().await),
        ("pro".to_owned(), "pro".to_owned())
    );
}

#[tokio::test]
async fn a_burst_of_events_is_one_read() {
    let it = billing_app("burst").await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    it.account.clear_requests();
    for round in 0..10 {
        let change = json!({ "metadata": { "round": round.to_string() } });
        it.account
            .update_subscription(&id, &change)
            .expect("it is changed");
    }
    it.account.delivered().await;
    let jobs: i64 = it.count("graphile_worker._private_jobs").await;
    assert_eq!(jobs, 1);
    it.settle().await;
    assert_eq!(
        it.account.requests().len(),
        1,
        "{:?}",
        it.account.requests()
    );
}

#[tokio::test]
async fn events_of_2020_have_the_effect_of_todays() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/stripe-data/events-2020"
    );
    let Ok(files) = std::fs::read_dir(folder) else {
        // They are not part of the repository.
        return;
    };
    let it = billing_app("old").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let customer = it.newest("customer");
    it.account.clear_requests();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(file.expect("it is listed").path()).expect("it is text");
        let mut event: Value = serde_json::from_str(&text).expect("it is JSON");
        it.deliver(&event).await.assert_status(200);
        // The same of a customer of ours.
        event["id"] = json!(format!("{}_ours", event["id"].as_str().unwrap_or_default()));
        event["livemode"] = json!(false);
        if event["data"]["object"]["customer"].is_string() {
            event["data"]["object"]["customer"] = json!(customer);
        }
        it.deliver(&event).await.assert_status(200);
        count += 1;
    }
    assert_eq!(count, 18);
    it.settle().await;
    assert_eq!(
        it.count("stripe_events WHERE processed_at IS NULL").await,
        0
    );
    assert_eq!(it.statuses().await, ["active"]);
    assert!(!it.account.requests().is_empty(), "the customer is read");
}
