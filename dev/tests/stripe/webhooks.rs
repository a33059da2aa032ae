//! Webhooks: duplicates, losses, order, versions.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, routing::post};
use groundwork_dev::{Stripe, files::Scratch, stripe::Release};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Fake, KEY, catalog};

/// A receiver that accepts every webhook.
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<Value>>>,
    _server: JoinSet<()>,
}

impl Receiver {
    async fn start() -> Self {
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keep = Arc::clone(&seen);
        let take = move |body: Bytes| {
            keep.lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap());
            async { "ok" }
        };
        let router = Router::new().route("/", post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            seen,
            _server: server,
        }
    }

    /// Ids of the objects in the order of arrival.
    fn objects(&self) -> Vec<Value> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|event| event["data"]["object"]["id"].clone())
            .collect()
    }

    fn events(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn events_are_dropped_and_delivered_twice() {
    let fake = Fake::start().await;
    let receiver = Receiver::start().await;
    fake.account
        .add_endpoint(&receiver.url, "whsec_a", None, &["customer.created"]);
    fake.account.drop_next(1);
    fake.customer().await;
    fake.account.delivered().await;
    assert!(receiver.events().is_empty());
    fake.account.duplicate_next(1, false);
    fake.customer().await;
    fake.account.delivered().await;
    let twice = receiver.events();
    assert_eq!((twice.len(), &twice[0]["id"]), (2, &twice[1]["id"]));
    fake.account.duplicate_next(1, true);
    fake.customer().await;
    fake.account.delivered().await;
    let events = receiver.events();
    assert_eq!(events.len(), 4);
    assert_ne!(events[2]["id"], events[3]["id"]);
    assert_eq!(events[2]["data"], events[3]["data"]);
}

#[tokio::test]
async fn held_events_are_released_in_reverse() {
    let fake = Fake::start().await;
    let receiver = Receiver::start().await;
    fake.account
        .add_endpoint(&receiver.url, "whsec_a", None, &["customer.created"]);
    fake.account.hold();
    let first = fake.customer().await;
    let second = fake.customer().await;
    fake.account.release(&Release::Reversed);
    fake.account.delivered().await;
    assert_eq!(receiver.objects(), [json!(second), json!(first)]);
}

#[tokio::test]
async fn an_old_version_has_the_periods_on_the_subscription() {
    let fake = Fake::start().await;
    let receiver = Receiver::start().await;
    fake.account.add_endpoint(
        &receiver.url,
        "whsec_a",
        Some("2020-03-02"),
        &["customer.subscription.created"],
    );
    let customer = fake.customer_with("pm_card_visa").await;
    fake.subscribe(&customer, "").await;
    fake.account.delivered().await;
    let event = receiver.events().remove(0);
    assert_eq!(event["api_version"], "2020-03-02");
    assert!(event["data"]["object"]["current_period_end"].is_i64());
    let again = fake
        .account
        .resend(
            event["id"].as_str().unwrap(),
            true,
            Some("2026-09-30.endive"),
        )
        .unwrap();
    fake.account.delivered().await;
    let event = receiver.events().remove(1);
    assert_eq!(
        (&event["id"], &event["api_version"]),
        (&json!(again), &json!("2026-09-30.endive"))
    );
    assert!(event["data"]["object"]["current_period_end"].is_null());
}

#[tokio::test]
async fn endpoints_are_managed_by_the_api() {
    let fake = Fake::start().await;
    let form = "url=http%3A%2F%2F127.0.0.1%3A9%2F&enabled_events[]=invoice.paid&enabled_events[]=customer.*";
    let made = fake.post("/v1/webhook_endpoints", form).await.body;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    let read = fake.get(&path).await.body;
    assert_eq!(
        (&read["enabled_events"][1], &read["secret"]),
        (&json!("customer.*"), &json!(null))
    );
    assert_eq!(
        fake.post(&path, "disabled=true").await.body["status"],
        "disabled"
    );
    assert_eq!(
        fake.send("DELETE", &path, "", None).await.unwrap().body["deleted"],
        true
    );
    assert_eq!(fake.get(&path).await.status, 404);
}

#[tokio::test]
async fn accounts_and_undelivered_events_survive_a_restart() {
    let scratch = Scratch::new(None).unwrap();
    let serve = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Stripe::serve(listener, None, Some(scratch.path().join("stripe.json")))
    };
    let first = serve().await.unwrap();
    let account = first.account(KEY);
    account.seed(&catalog());
    account.put_endpoint("we_a", "http://127.0.0.1:1/", "whsec_a", None, &["*"]);
    let ada = json!({ "email": "ada@example.com" });
    let customer = account.call("POST", "/v1/customers", &ada).unwrap();
    account.advance_to(account.now() + 86_400).await;
    let now = account.now();
    drop(first);

    let second = serve().await.unwrap();
    let account = second.account(KEY);
    assert!(account.now() >= now, "the clock stays ahead");
    assert_eq!(account.objects("customer"), std::slice::from_ref(&customer));
    let receiver = Receiver::start().await;
    account.put_endpoint("we_a", &receiver.url, "whsec_a", None, &["*"]);
    account.resend_pending();
    account.delivered().await;
    assert_eq!(receiver.objects(), [customer["id"].clone()]);
    let other = account.call("POST", "/v1/customers", &ada).unwrap();
    assert_ne!(other["id"], customer["id"], "ids go on");
}
