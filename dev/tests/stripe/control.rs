//! Control routes, as another process uses them.

use groundwork_dev::stripe::Release;
use serde_json::{Value, json};

use crate::support::{Fake, KEY};

impl Fake {
    async fn control(&self, act: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/fake/{act}", self.stripe.url());
        let sent = self
            .client
            .post(url)
            .basic_auth(KEY, None::<&str>)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = sent.status().as_u16();
        (
            status,
            serde_json::from_slice(&sent.bytes().await.unwrap()).unwrap_or_default(),
        )
    }

    async fn read(&self, what: &str) -> Value {
        self.get(&format!("/fake/{what}")).await.body
    }
}

#[tokio::test]
async fn a_checkout_is_paid_disputed_and_ended_by_control_routes() {
    let fake = Fake::start().await;
    let customer = fake.customer().await;
    let session = fake.checkout(&customer, "").await;
    let paid = fake
        .control(
            "pay_checkout",
            &json!({ "session": session["id"], "outcome": "paid" }),
        )
        .await;
    assert_eq!((paid.0, &paid.1["status"]), (200, &json!("complete")));
    let charge = fake.read("objects/charge").await[0]["id"].clone();
    let dispute = fake
        .control(
            "dispute",
            &json!({ "charge": charge, "reason": "fraudulent" }),
        )
        .await
        .1;
    assert_eq!(dispute["status"], "needs_response");
    let refused = fake.control("refund", &json!({ "charge": charge })).await;
    assert_eq!(
        (refused.0, &refused.1["error"]["code"]),
        (400, &json!("charge_disputed"))
    );
    let closed = fake
        .control(
            "close_dispute",
            &json!({ "dispute": dispute["id"], "won": true }),
        )
        .await
        .1;
    assert_eq!(closed["status"], "won");
    let now = fake.read("now").await["now"].as_i64().unwrap();
    let moved = fake.control("advance", &json!({ "by": 86_400 })).await.1;
    assert!(moved["now"].as_i64().unwrap() >= now + 86_400);
    let portal = json!({ "customer": customer, "does": "cancel" });
    assert!(fake.control("portal", &portal).await.1["cancel_at"].is_i64());
    assert_eq!(
        fake.control("portal", &json!({ "customer": customer }))
            .await
            .0,
        400
    );
    assert_eq!(
        fake.control(
            "resend",
            &json!({ "event": "evt_none", "under_new_id": false })
        )
        .await
        .0,
        404
    );
    assert_eq!(fake.control("nothing", &json!({})).await.0, 400);
}

#[tokio::test]
async fn faults_are_set_and_requests_read_by_control_routes() {
    let fake = Fake::start().await;
    let fault = json!({ "fault": { "path": "/v1/account", "action": { "status": { "status": 503, "body": "html" } } } });
    assert_eq!(fake.control("fault", &fault).await.0, 200);
    assert_eq!(fake.get("/v1/account").await.status, 503);
    assert_eq!(fake.get("/v1/account").await.status, 200);
    let requests = fake.read("requests").await;
    let statuses: Vec<&Value> = requests
        .as_array()
        .unwrap()
        .iter()
        .map(|request| &request["status"])
        .collect();
    assert_eq!(statuses, [&json!(503), &json!(200)]);
}

#[tokio::test]
async fn held_events_are_released_in_the_order_given() {
    let fake = Fake::start().await;
    fake.account.add_endpoint(
        "http://127.0.0.1:9/",
        "whsec_a",
        None,
        &["customer.created"],
    );
    fake.account.hold();
    fake.customer().await;
    fake.customer().await;
    let held = fake.account.held();
    assert_eq!(fake.read("held").await, json!(held));
    assert!(fake.account.deliveries().is_empty());
    fake.account.release(&Release::Given(vec![held[1].clone()]));
    while fake.account.deliveries().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.account.deliveries()[0].event, held[1]);
    let (signature, body) = fake.account.signed(&held[0]).unwrap();
    assert!(signature.starts_with("t="));
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap()["id"],
        json!(held[0])
    );
}
