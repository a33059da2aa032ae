//! Reconciliation, replay, bursts, deleted customers, and events of former versions.

use std::time::Duration;

use groundwork_dev::stripe::Outcome;
use serde_json::{Value, json};

use super::billing_app;
use super::convergence::SUBSCRIPTIONS;
use crate::kit::stripe::{StripeApp, fault, status};
use crate::process::{run, stderr, stdout};

impl StripeApp {
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
    let states: Vec<String> = it.read("SELECT detailed_status FROM payments").await;
    assert_eq!(states, ["disputed"]);

    it.account.drop_next(100);
    let update = json!({ "metadata": { "a": "b" } });
    it.account.update_subscription(&id, &update).ok();
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
