//! The webhook route: what it refuses, what it stores, and what has an effect.

use futures_util::future::join_all;
use groundwork::billing::PurgeBilling;
use groundwork_dev::stripe::{Outcome, Release};
use reqwest::Method;
use serde_json::{Value, json};

use super::{API_VERSION, WEBHOOK, billing_app, billing_app_with, sign};
use crate::harness::TestApp;
use crate::kit::stripe::StripeApp;
use crate::organisations::races::until_waiting;

/// An event about a subscription of a customer.
fn event(id: &str, customer: &str) -> Value {
    json!({
        "id": id, "object": "event", "api_version": API_VERSION, "created": 1_790_000_000, "livemode": false,
        "type": "customer.subscription.updated",
        "data": { "object": { "id": "sub_1", "object": "subscription", "customer": customer } },
    })
}

impl StripeApp {
    /// Whether stored events have been processed or have no effect, by id.
    async fn stored(&self) -> Vec<(String, bool)> {
        let sql = "SELECT id, processed_at IS NOT NULL FROM stripe_events ORDER BY received_at, id";
        sqlx::query_as(sql)
            .fetch_all(&self.app.owner_db)
            .await
            .expect("they are read")
    }

    async fn jobs(&self) -> i64 {
        self.count("graphile_worker._private_jobs").await
    }
}

#[tokio::test]
async fn only_bytes_signed_with_a_secret_in_the_last_minutes_are_stored() {
    let settings = [("STRIPE_WEBHOOK_SECRETS", "whsec_test,whsec_previous")];
    let it = billing_app_with("signature", &settings).await;
    let now = it.app.clock.now().timestamp();
    let body = event("evt_1", "cus_1").to_string().into_bytes();
    let good = sign("whsec_test", now, &body);
    let mut changed = body.clone();
    changed[10] ^= 1;
    let cut = &good[..good.len() - 2];
    for (what, signature, body) in [
        ("none", String::new(), &body),
        ("foreign", sign("whsec_foreign", now, &body), &body),
        ("stale", sign("whsec_test", now - 301, &body), &body),
        ("early", sign("whsec_test", now + 301, &body), &body),
        ("changed", good.clone(), &changed),
        ("cut", cut.to_owned(), &body),
        ("other scheme", good.replace("v1=", "v0="), &body),
        ("no time", good.replace("t=", "s="), &body),
        ("two times", format!("t={},{good}", now - 1_000), &body),
    ] {
        let answer = it.app.replica.deliver_signed(&signature, body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.body);
        answer.assert_problem(400, "invalid_signature");
    }
    let without = it
        .app
        .replica
        .request(Method::POST, WEBHOOK)
        .body(body.clone());
    let without = it.app.replica.send(&Method::POST, WEBHOOK, without).await;
    without.assert_problem(400, "invalid_signature");
    let strange = it.app.replica.request(Method::POST, WEBHOOK);
    let strange = strange
        .header("stripe-signature", [good.as_bytes(), b"\xe4"].concat())
        .body(body.clone());
    let strange = it.app.replica.send(&Method::POST, WEBHOOK, strange).await;
    strange.assert_problem(400, "invalid_signature");
    assert_eq!((it.stored().await.len(), it.jobs().await), (0, 0));

    for (id, secret, at) in [
        ("evt_current", "whsec_test", now),
        ("evt_previous", "whsec_previous", now),
        ("evt_late", "whsec_test", now - 300),
        ("evt_early", "whsec_test", now + 300),
    ] {
        let body = event(id, "cus_1").to_string().into_bytes();
        // Stripe sends a signature for each secret of the endpoint.
        let signature = format!("{},v1={}", sign(secret, at, &body), "0".repeat(64));
        let answer = it.app.replica.deliver_signed(&signature, &body).await;
        answer.assert_status(200);
    }
    assert_eq!(it.stored().await.len(), 4);
    it.settle().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_or_no_event_and_other_methods_are_refused() {
    let it = billing_app("bodies").await;
    let now = it.app.clock.now().timestamp();
    let deliver = async |body: &[u8]| {
        let signature = sign("whsec_test", now, body);
        it.app.replica.deliver_signed(&signature, body).await
    };
    let large = json!({ "id": "evt_1", "type": "invoice.paid", "x": "x".repeat(1024 * 1024) });
    let answer = deliver(large.to_string().as_bytes()).await;
    answer.assert_problem(413, "payload_too_large");
    for body in [
        &b""[..],
        b"[]",
        b"null",
        b"{\"id\": \"evt_1\"",
        b"\xff",
        b"\"evt_1\"",
    ] {
        deliver(body).await.assert_problem(400, "bad_request");
    }
    let deep = "[".repeat(100_000);
    deliver(deep.as_bytes())
        .await
        .assert_problem(400, "bad_request");
    let read = it.app.get(WEBHOOK).await;
    read.assert_problem(405, "method_not_allowed");
    assert_eq!((it.stored().await.len(), it.jobs().await), (0, 0));
}

#[tokio::test]
async fn unknown_types_forms_and_versions_are_stored() {
    let it = billing_app("forms").await;
    let thin = json!({
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2026-03-14T09:26:53.000Z", "livemode": false,
        "related_object": { "id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1" },
    });
    let mut added = event("evt_added", "cus_1");
    added["data"]["object"]["new"] = json!({ "a": [1, 2] });
    added["context"] = json!(null);
    let mut newer = event("evt_newer", "cus_1");
    newer["api_version"] = json!("2031-01-01.zinnia");
    let mut unknown = event("evt_unknown", "cus_1");
    unknown["type"] = json!("customer_future.thing.happened");
    let mut odd = event("evt_odd", "cus_1");
    odd["data"] = json!({ "object": { "id": 7, "customer": [], "object": null } });
    odd["created"] = json!("yesterday");
    odd["api_version"] = json!(7);
    let mut expanded = event("evt_expanded", "");
    expanded["data"]["object"]["customer"] = json!({ "id": "cus_1", "object": "customer" });
    let mut nul = event("evt_nul", "cus_1");
    nul["type"] = json!("customer.\u{0}");
    nul["data"]["object"]["id"] = json!("sub_\u{0}");
    let events = [
        thin,
        added,
        newer,
        unknown,
        odd,
        nul,
        expanded,
        json!({ "id": "evt_bare" }),
        json!({ "type": "invoice.paid" }),
        json!({ "type": "invoice.paid", "id": "x".repeat(300) }),
        json!({}),
    ];
    for event in &events {
        let answer = it.deliver(event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.body);
    }
    assert_eq!(it.stored().await.len(), events.len());
    let again = it.deliver(&json!({})).await;
    again.assert_status(200);
    assert_eq!(it.stored().await.len(), events.len());
    it.settle().await;
    let waiting: Vec<_> = it.stored().await.into_iter().filter(|it| !it.1).collect();
    assert!(waiting.is_empty(), "{waiting:?}");
    assert!(it.account.requests().is_empty(), "Stripe sees no call");
}

#[tokio::test]
async fn events_of_another_mode_account_or_customer_have_no_effect() {
    let it = billing_app("foreign").await;
    let ada = it.app.sign_in("ada").await;
    let subscription = it.buy(&ada).await;
    let customer = it.newest("customer");
    it.account.clear_requests();
    let mut live = event("evt_live", &customer);
    live["livemode"] = json!(true);
    let mut connected = event("evt_connected", &customer);
    connected["account"] = json!("acct_other");
    let nobody = event("evt_nobody", "cus_nobody");
    // An event by itself changes nothing either: what is at Stripe counts.
    let mut false_end = event("evt_false", &customer);
    false_end["type"] = json!("customer.subscription.deleted");
    false_end["data"]["object"]["id"] = json!(subscription);
    false_end["data"]["object"]["status"] = json!("canceled");
    for event in [live, connected, nobody] {
        it.deliver(&event).await.assert_status(200);
    }
    it.settle().await;
    assert!(it.account.requests().is_empty(), "Stripe sees no call");
    it.deliver(&false_end).await.assert_status(200);
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(ada.plan().await, "pro");
}

#[tokio::test]
async fn a_delivery_while_the_database_is_away_works_later() {
    let it = billing_app("away").await;
    let nowhere = [
        ("DATABASE_URL", "postgres://app:pw@127.0.0.1:1/app"),
        ("DB_POOL_TIMEOUT", "1s"),
    ];
    let away = it.app.another_replica_with(&nowhere).await;
    let body = event("evt_1", "cus_1").to_string().into_bytes();
    let signature = sign("whsec_test", it.app.clock.now().timestamp(), &body);
    let refused = away.deliver_signed(&signature, &body).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(it.stored().await.len(), 0);
    let later = it.app.replica.deliver_signed(&signature, &body).await;
    later.assert_status(200);
    it.settle().await;
    assert_eq!(it.stored().await, [("evt_1".to_owned(), true)]);
}

#[tokio::test]
async fn a_fact_that_comes_twenty_times_or_under_two_ids_has_one_effect_and_one_email() {
    let it = billing_app("repeated").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    it.account.hold();
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    let mut events = it.account.events().into_iter();
    let paid = events.rfind(|event| event["type"] == "invoice.paid");
    let paid = paid.expect("the invoice is paid");
    let id = paid["id"].as_str().expect("an id");
    let (signature, body) = it.account.signed(id).expect("there is an endpoint");
    let all = (0..20).map(|_| it.app.replica.deliver_signed(&signature, &body));
    for answer in join_all(all).await {
        answer.assert_status(200);
    }
    assert_eq!(it.stored().await.iter().filter(|it| it.0 == id).count(), 1);
    it.account.duplicate_next(20, true);
    it.account.release(&Release::AsSent);
    it.settle().await;
    it.account
        .resend(id, true, Some("2020-08-27"))
        .expect("it is sent");
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(it.count("invoices").await, 1);
    assert_eq!(it.notices().await, ["receipt"]);
    let receipts = it.app.inbox.emails_to("ada@example.com");
    let receipts = receipts
        .iter()
        .filter(|email| email.subject.contains("Billing"));
    assert_eq!(receipts.count(), 1);
    assert_eq!(it.app.audited("subscription_changed").await, 1);
}

#[tokio::test]
async fn without_a_key_of_stripe_billing_is_refused_and_all_else_works() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let body = event("evt_1", "cus_1").to_string().into_bytes();
    let signature = sign("whsec_test", app.clock.now().timestamp(), &body);
    let refused = app.replica.deliver_signed(&signature, &body).await;
    refused.assert_problem(503, "billing_not_configured");
    for path in ["portal", "cancel", "resume"] {
        let refused = ada
            .post(&format!("/api/v1/billing/{path}"), json!({}))
            .await;
        refused.assert_problem(503, "billing_not_configured");
    }
    assert_eq!(ada.plan().await, "free");
    app.get("/api/v1/pricing").await.assert_status(200);
    let back = app.get("/billing-return?session_id=cs_test_1").await;
    back.assert_status(200);
}

#[tokio::test]
async fn raw_events_are_purged_after_their_retention() {
    let it = billing_app_with("purged", &[("STRIPE_EVENT_RETENTION", "2d")]).await;
    it.deliver(&event("evt_old", "cus_1"))
        .await
        .assert_status(200);
    it.settle().await;
    it.advance_days(3).await;
    it.deliver(&event("evt_new", "cus_1"))
        .await
        .assert_status(200);
    it.settle().await;
    job_queue::enqueue(&it.app.state.db, &PurgeBilling {}, None)
        .await
        .expect("it is enqueued");
    it.settle().await;
    assert_eq!(it.stored().await, [("evt_new".to_owned(), true)]);
}

#[tokio::test]
async fn an_event_that_comes_while_the_job_of_its_customer_begins_gets_another_one() {
    let it = billing_app("begins").await;
    let now = it.app.clock.now().timestamp();
    let deliver = async |id: &str| {
        let body = event(id, "cus_1").to_string().into_bytes();
        let signature = sign("whsec_test", now, &body);
        it.app.replica.deliver_signed(&signature, &body).await
    };
    deliver("evt_1").await.assert_status(200);
    deliver("evt_2").await.assert_status(200);
    assert_eq!(it.jobs().await, 1);
    let (mut owner, mut observer) = (it.app.owner().await, it.app.owner().await);
    let begins = "BEGIN; UPDATE graphile_worker._private_jobs SET locked_at = now(), locked_by = 'a worker', attempts = 1";
    sqlx::raw_sql(begins)
        .execute(&mut owner)
        .await
        .expect("it begins");
    let commit = async {
        until_waiting(&mut observer, 1).await;
        sqlx::raw_sql("COMMIT")
            .execute(&mut owner)
            .await
            .expect("it commits");
    };
    let (answer, ()) = tokio::join!(deliver("evt_3"), commit);
    answer.assert_status(200);
    assert_eq!(it.jobs().await, 2);
    let ends = "DELETE FROM graphile_worker._private_jobs WHERE locked_by = 'a worker'";
    sqlx::raw_sql(ends)
        .execute(&it.app.owner_db)
        .await
        .expect("it ends");
    it.settle().await;
}
