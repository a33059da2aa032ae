//! Calls, errors, idempotency, faults.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use groundwork_dev::stripe::{FaultAction, FaultBody, Outcome, StripeFault};

use crate::support::Fake;

#[tokio::test]
async fn a_paid_checkout_begins_a_subscription() {
    let fake = Fake::start().await;
    let customer = fake.customer().await;
    let session = fake
        .checkout(&customer, "&subscription_data[metadata][account]=1")
        .await;
    assert!(fake.account.objects("subscription").is_empty());
    let id = session["id"].as_str().unwrap();
    assert!(fake.account.pay_checkout(id, Outcome::Declined).is_err());
    assert!(fake.account.objects("subscription").is_empty());
    let session = fake.account.pay_checkout(id, Outcome::Paid).unwrap();
    let subscription = fake
        .get(&format!(
            "/v1/subscriptions/{}?expand[]=latest_invoice.payments.data.payment.payment_intent.latest_charge",
            session["subscription"].as_str().unwrap()
        ))
        .await;
    assert_eq!(subscription.status, 400, "five levels are too deep");
    let subscription = fake
        .get(&format!(
            "/v1/subscriptions/{}?expand[]=latest_invoice.payments&expand[]=customer",
            session["subscription"].as_str().unwrap()
        ))
        .await
        .body;
    assert_eq!(subscription["status"], "active");
    assert_eq!(subscription["metadata"]["account"], "1");
    assert_eq!(subscription["customer"]["email"], "ada@example.com");
    assert_eq!(subscription["latest_invoice"]["amount_paid"], 1900);
    assert_eq!(
        subscription["latest_invoice"]["payments"]["data"][0]["status"],
        "paid"
    );
    let types = fake.event_types();
    for kind in [
        "customer.subscription.created",
        "invoice.paid",
        "checkout.session.completed",
        "charge.succeeded",
    ] {
        assert!(types.iter().any(|t| t == kind), "{kind} in {types:?}");
    }
}

#[tokio::test]
async fn errors_have_the_envelope() {
    let fake = Fake::start().await;
    let unknown = fake.post("/v1/customers", "colour=red").await;
    assert_eq!(
        (unknown.status, &unknown.body["error"]["code"]),
        (400, &"parameter_unknown".into())
    );
    let missing = fake.get("/v1/customers/cus_none").await;
    assert_eq!(
        (missing.status, &missing.body["error"]["code"]),
        (404, &"resource_missing".into())
    );
    assert!(
        missing.headers["request-id"]
            .to_str()
            .unwrap()
            .starts_with("req_")
    );
    let refused = fake
        .client
        .get(format!("{}/v1/customers", fake.stripe.url()))
        .bearer_auth("nonsense")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn idempotency_keys_replay_the_first_result() {
    let fake = Fake::start().await;
    let first = fake
        .send("POST", "/v1/customers", "name=a", Some("k"))
        .await
        .unwrap();
    let second = fake
        .send("POST", "/v1/customers", "name=a", Some("k"))
        .await
        .unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(second.headers["idempotent-replayed"], "true");
    let other = fake
        .send("POST", "/v1/customers", "name=b", Some("k"))
        .await
        .unwrap();
    assert_eq!(
        (other.status, &other.body["error"]["type"]),
        (400, &"idempotency_error".into())
    );
    assert_eq!(fake.account.objects("customer").len(), 1);
}

#[tokio::test]
async fn a_call_that_is_cut_after_its_effect_replays() {
    let fake = Fake::start().await;
    fake.account.fault(StripeFault {
        method: Some("POST".into()),
        path: "/v1/customers".into(),
        skip: 0,
        count: 1,
        action: FaultAction::CutAfterEffect,
    });
    assert!(
        fake.send("POST", "/v1/customers", "name=a", Some("k"))
            .await
            .is_err()
    );
    let second = fake
        .send("POST", "/v1/customers", "name=a", Some("k"))
        .await
        .unwrap();
    assert_eq!(second.headers["idempotent-replayed"], "true");
    assert_eq!(fake.account.objects("customer").len(), 1);
    fake.account.fault(StripeFault {
        method: None,
        path: "/v1/customers".into(),
        skip: 0,
        count: 1,
        action: FaultAction::Status {
            status: 429,
            body: FaultBody::Json,
            headers: vec![("Retry-After".into(), "1".into())],
        },
    });
    let limited = fake
        .send("POST", "/v1/customers", "name=c", Some("k2"))
        .await
        .unwrap();
    assert_eq!(
        (
            limited.status,
            limited.headers["retry-after"].to_str().unwrap()
        ),
        (429, "1")
    );
    let fresh = fake
        .send("POST", "/v1/customers", "name=c", Some("k2"))
        .await
        .unwrap();
    assert_eq!(fresh.status, 200);
    assert!(fresh.headers.get("idempotent-replayed").is_none());
}

#[tokio::test]
async fn webhooks_are_signed_and_retried() {
    type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;
    let fake = Fake::start().await;
    let seen: Seen = Arc::default();
    let keep = Arc::clone(&seen);
    let router = Router::new().route(
        "/hook",
        post(move |headers: HeaderMap, body: Bytes| {
            let keep = Arc::clone(&keep);
            async move {
                let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
                let mut seen = keep.lock().unwrap();
                seen.push((signature, body.to_vec()));
                if seen.len() == 1 {
                    axum::http::StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    axum::http::StatusCode::OK
                }
            }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let endpoint = fake
        .account
        .add_endpoint(&url, "whsec_a", None, &["customer.*"]);
    fake.account.roll_secret(&endpoint, "whsec_b", true);
    fake.customer().await;
    tokio::time::timeout(Duration::from_secs(5), fake.account.delivered())
        .await
        .unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "one failure and one retry");
    assert_eq!(seen[0].1, seen[1].1);
    assert_eq!(seen[1].0.matches("v1=").count(), 2);
    server.abort();
}
