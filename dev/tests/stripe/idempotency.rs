//! Idempotency keys and faults.

use std::time::Duration;

use groundwork_dev::stripe::{FaultAction, FaultBody, StripeFault};
use serde_json::json;

use crate::support::Fake;

impl Fake {
    fn next_customer(&self, action: FaultAction) {
        self.account.fault(StripeFault {
            method: Some("POST".into()),
            path: "/v1/customers".into(),
            skip: 0,
            count: 1,
            action,
        });
    }
}

#[tokio::test]
async fn a_key_whose_call_executes_is_refused() {
    let fake = Fake::start().await;
    fake.next_customer(FaultAction::Delay(1_000));
    let slow = fake.send("POST", "/v1/customers", "name=a", Some("k"));
    let quick = async {
        fake.wait_for(|calls| !calls.is_empty()).await;
        fake.send("POST", "/v1/customers", "name=a", Some("k"))
            .await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.unwrap().status, 200);
    let quick = quick.unwrap();
    assert_eq!(
        (quick.status, &quick.body["error"]["code"]),
        (409, &json!("idempotency_key_in_use"))
    );
    assert_eq!(fake.account.objects("customer").len(), 1);
}

#[tokio::test]
async fn a_500_replays_and_a_502_does_not() {
    let fake = Fake::start().await;
    for (status, replays) in [(500, true), (502, false)] {
        let key = format!("k{status}");
        let (body, headers) = (FaultBody::Html, Vec::new());
        fake.next_customer(FaultAction::Status {
            status,
            body,
            headers,
        });
        let first = fake
            .send("POST", "/v1/customers", "name=a", Some(&key))
            .await
            .unwrap();
        assert_eq!(first.status, status);
        let second = fake
            .send("POST", "/v1/customers", "name=a", Some(&key))
            .await
            .unwrap();
        assert_eq!(second.status == 500, replays);
        assert_eq!(second.headers.contains_key("idempotent-replayed"), replays);
    }
}

#[tokio::test]
async fn what_validation_refuses_is_not_kept() {
    let fake = Fake::start().await;
    let refused = fake
        .send("POST", "/v1/customers", "email=nobody", Some("k"))
        .await
        .unwrap();
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (400, &json!("email_invalid"))
    );
    assert!(fake.account.objects("customer").is_empty());
    let form = "email=a%40example.com";
    assert_eq!(
        fake.send("POST", "/v1/customers", form, Some("k"))
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn a_declined_card_replays() {
    let fake = Fake::start().await;
    let form = "amount=500&currency=usd&payment_method=pm_card_chargeDeclined&confirm=true";
    let first = fake
        .send("POST", "/v1/payment_intents", form, Some("k"))
        .await
        .unwrap();
    assert_eq!(
        (first.status, &first.body["error"]["decline_code"]),
        (402, &json!("generic_decline"))
    );
    let second = fake
        .send("POST", "/v1/payment_intents", form, Some("k"))
        .await
        .unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(fake.account.objects("payment_intent").len(), 1);
}

#[tokio::test]
async fn keys_are_forgotten_after_a_day() {
    let fake = Fake::start().await;
    let first = fake
        .send("POST", "/v1/customers", "name=a", Some("k"))
        .await
        .unwrap();
    let now = fake.account.now();
    fake.account.advance_to(now + 86_400 + 5).await;
    let second = fake
        .send("POST", "/v1/customers", "name=b", Some("k"))
        .await
        .unwrap();
    assert_eq!(second.status, 200);
    assert_ne!(first.body["id"], second.body["id"]);
}

#[tokio::test]
async fn a_client_that_gives_up_does_not_stop_the_call() {
    let fake = Fake::start().await;
    fake.next_customer(FaultAction::Delay(200));
    let call = fake.send("POST", "/v1/customers", "name=a", Some("k"));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), call)
            .await
            .is_err()
    );
    fake.wait_for(|calls| calls[0].status.is_some()).await;
    assert_eq!(fake.account.objects("customer").len(), 1);
    assert_eq!(fake.account.requests()[0].status, Some(200));
}

#[tokio::test]
async fn a_slow_answer_shows_what_was_true_when_it_was_read() {
    let fake = Fake::start().await;
    let id = fake.customer().await;
    fake.account.fault(StripeFault {
        method: Some("GET".into()),
        path: format!("/v1/customers/{id}"),
        skip: 0,
        count: 1,
        action: FaultAction::DelayAnswer(1_000),
    });
    let path = format!("/v1/customers/{id}");
    let change = async {
        fake.wait_for(|calls| calls.len() == 2).await;
        // The call reads at once after it is logged.
        tokio::time::sleep(Duration::from_millis(50)).await;
        fake.post(&path, "name=Later").await;
    };
    let (slow, ()) = tokio::join!(fake.get(&path), change);
    assert_eq!(slow.body["name"], json!(null));
}
