//! Payments: created once at Stripe, listed, and of one account.

mod faults;
mod following;

use groundwork_dev::stripe::FaultAction;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Replica, Session, TestApp};
use crate::kit::stripe::{StripeApp, fault, status, stripe_app, stripe_app_with};

const PAYMENTS: &str = "/api/v1/payments";
const INTENTS: &str = "/v1/payment_intents";

/// Creates a payment under an idempotency key with any credential.
async fn post(replica: &Replica, token: &str, key: &str, body: &Value) -> Answer {
    let request = replica.request(Method::POST, PAYMENTS).json(body);
    let request = request.header("idempotency-key", key).bearer_auth(token);
    replica.send(&Method::POST, PAYMENTS, request).await
}

impl Session {
    pub(super) async fn pay(&self, key: &str, body: &Value) -> Answer {
        post(&self.replica, self.access(), key, body).await
    }
}

fn usd(amount: i64) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

impl StripeApp {
    fn intents(&self) -> Vec<Value> {
        self.account.objects("payment_intent")
    }

    /// Loses the next responses of creations, after their effect or before it, and refuses searches.
    fn lose(&self, is_made: bool) {
        if is_made {
            self.account
                .fault(fault("POST", INTENTS, 1, FaultAction::CutAfterEffect));
        }
        self.account
            .fault(fault("POST", INTENTS, 1_000, FaultAction::CutBefore));
        self.account
            .fault(fault("GET", INTENTS, 1_000, status(429)));
    }

    /// Calls that create a payment intent.
    fn creations(&self) -> usize {
        let calls = self.account.requests();
        let is_it = |method: &str, path: &str| method == "POST" && path == INTENTS;
        calls
            .iter()
            .filter(|call| is_it(&call.method, &call.path))
            .count()
    }
}

/// Columns of the only row.
async fn row(app: &TestApp) -> (String, String, Option<String>, bool) {
    sqlx::query_as(
        "SELECT status, detailed_status, stripe_payment_intent_id, request_key_hash IS NULL FROM payments",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("there is one")
}

#[tokio::test]
async fn a_payment_is_created_at_stripe_and_its_secret_is_stored_nowhere_in_clear() {
    let it = stripe_app("created").await;
    let ada = it.app.sign_in("ada").await;
    let body = json!({ "amount": 2_900, "currency": "USD", "description": "Ten hours" });
    let created = ada.pay("k-1", &body).await;
    created.assert_status(201);
    let intents = it.intents();
    assert_eq!(intents.len(), 1);
    let intent = &intents[0];
    assert_eq!(created.body["client_secret"], intent["client_secret"]);
    assert_eq!(created.body["status"], "requires_payment_method");
    assert_eq!(created.body["amount_refunded"], 0);
    assert_eq!(created.body["created_at"], "2026-03-14T09:26:53Z");
    assert_eq!(
        (
            &intent["amount"],
            &intent["currency"],
            &intent["description"]
        ),
        (&json!(2_900), &json!("usd"), &json!("Ten hours"))
    );
    assert_eq!(intent["metadata"]["payment_id"], created.body["id"]);
    let customers = it.account.objects("customer");
    assert_eq!(customers.len(), 1);
    assert_eq!(intent["customer"], customers[0]["id"]);
    let calls = it.account.requests();
    let call = calls.iter().find(|call| call.path == INTENTS);
    let key = call.and_then(|call| call.idempotency_key.clone());
    let id = created.body["id"].as_str().expect("it has an id");
    assert_eq!(key, Some(format!("payment-{id}")));

    let found = ada.get(&format!("{PAYMENTS}/{id}")).await;
    found.assert_status(200);
    assert_eq!(found.body["amount"], 2_900);
    assert!(found.body.get("client_secret").is_none());
    assert_eq!(it.app.audited("payment_created").await, 1);

    let secret = intent["client_secret"].as_str().expect("it has a secret");
    let dump: String = sqlx::query_scalar(
        "SELECT concat((SELECT string_agg(p::text, '') FROM payments AS p),
                       (SELECT string_agg(k::text || encode(k.body, 'escape'), '') FROM idempotency_keys AS k),
                       (SELECT string_agg(a::text, '') FROM audit_log AS a))",
    )
    .fetch_one(&it.app.owner_db)
    .await
    .expect("they are read");
    assert!(dump.contains(id), "the rows are there");
    assert!(!dump.contains(secret), "the secret is stored in clear");
}

#[tokio::test]
async fn a_repetition_gets_the_same_secret_and_another_body_is_refused() {
    let it = stripe_app("replayed").await;
    let ada = it.app.sign_in("ada").await;
    let first = ada.pay("k-1", &usd(500)).await;
    first.assert_status(201);
    let again = ada.pay("k-1", &usd(500)).await;
    again.assert_status(201);
    assert_eq!(again.bytes, first.bytes);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = ada.pay("k-1", &usd(501)).await;
    other.assert_problem(422, "idempotency_key_reused");
    assert_eq!((it.intents().len(), it.creations()), (1, 1));
    ada.pay("k-2", &usd(500)).await.assert_status(201);
    assert_eq!(it.intents().len(), 2);
}

#[tokio::test]
async fn of_requests_with_one_key_at_once_one_creates_a_payment() {
    let it = stripe_app("raced").await;
    let ada = it.app.sign_in("ada").await;
    // The customer is there, so that all of them reach the payment together.
    ada.pay("k-0", &usd(500)).await.assert_status(201);
    it.account
        .fault(fault("POST", INTENTS, 20, FaultAction::Delay(300)));
    let body = usd(500);
    let all = (0..10).map(|_| ada.pay("k-1", &body));
    let all = futures_util::future::join_all(all).await;
    let (created, refused): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.status == 201);
    assert!(!created.is_empty());
    for answer in refused {
        answer.assert_problem(409, "idempotency_key_in_use");
    }
    for answer in &created {
        assert_eq!(answer.bytes, created[0].bytes);
    }
    assert_eq!(it.intents().len(), 2);
}

#[tokio::test]
async fn first_payments_at_once_have_one_customer() {
    let it = stripe_app("customer").await;
    let ada = it.app.sign_in("ada").await;
    it.account
        .fault(fault("POST", "/v1/customers", 20, FaultAction::Delay(300)));
    let bodies = [usd(500), usd(600), usd(700)];
    let keys = ["k-1", "k-2", "k-3"];
    let all = keys
        .iter()
        .zip(&bodies)
        .map(|(key, body)| ada.pay(key, body));
    for answer in futures_util::future::join_all(all).await {
        answer.assert_status(201);
    }
    assert_eq!(it.account.objects("customer").len(), 1);
    assert_eq!(it.intents().len(), 3);
}

#[tokio::test]
async fn amounts_and_currencies_that_stripe_would_refuse_never_reach_it() {
    let settings = [
        ("PAYMENT_CURRENCIES", "USD,JPY,KWD,ISK,HUF"),
        ("PAYMENT_MAX_AMOUNT", "1000000"),
    ];
    let it = stripe_app_with("bounds", &settings).await;
    let ada = it.app.sign_in("ada").await;
    for (field, body) in [
        ("amount", json!({ "amount": 0, "currency": "USD" })),
        ("amount", json!({ "amount": -100, "currency": "USD" })),
        ("amount", json!({ "amount": 12.5, "currency": "USD" })),
        ("amount", json!({ "amount": 100.0, "currency": "USD" })),
        ("amount", json!({ "amount": "100", "currency": "USD" })),
        ("amount", json!({ "amount": 1_000_001, "currency": "USD" })),
        ("amount", json!({ "amount": u64::MAX, "currency": "USD" })),
        ("amount", json!({ "amount": 49, "currency": "USD" })),
        ("amount", json!({ "amount": 49, "currency": "JPY" })),
        ("amount", json!({ "amount": 10_001, "currency": "KWD" })),
        ("amount", json!({ "amount": 1_050, "currency": "ISK" })),
        ("amount", json!({ "amount": 17_499, "currency": "HUF" })),
        ("amount", json!({ "currency": "USD" })),
        ("currency", json!({ "amount": 100 })),
        ("currency", json!({ "amount": 100, "currency": "EUR" })),
        ("currency", json!({ "amount": 100, "currency": "usd" })),
        ("currency", json!({ "amount": 100, "currency": "XXX" })),
        ("currency", json!({ "amount": 100, "currency": 840 })),
        (
            "description",
            json!({ "amount": 100, "currency": "USD", "description": "a\nb" }),
        ),
        (
            "description",
            json!({ "amount": 100, "currency": "USD", "description": "x".repeat(201) }),
        ),
        (
            "price",
            json!({ "amount": 100, "currency": "USD", "price": "price_1" }),
        ),
        (
            "card",
            json!({ "amount": 100, "currency": "USD", "card": "4242424242424242" }),
        ),
    ] {
        let refused = ada.pay("k-1", &body).await;
        refused.assert_problem(422, "invalid_fields");
        assert_eq!(
            refused.body["errors"][0]["field"], field,
            "{body}: {}",
            refused.body
        );
        let text = refused.body.to_string();
        assert!(!text.contains("4242"), "a refusal repeats no value");
    }
    assert!(it.account.requests().is_empty(), "Stripe sees no call");
    for (key, amount, currency) in [
        ("usd", 50, "USD"),
        ("jpy", 50, "JPY"),
        ("kwd", 10_010, "KWD"),
        ("isk", 1_000, "ISK"),
        ("huf", 17_501, "HUF"),
        ("most", 1_000_000, "USD"),
    ] {
        let created = ada
            .pay(key, &json!({ "amount": amount, "currency": currency }))
            .await;
        created.assert_status(201);
        assert_eq!(created.body["currency"], currency);
    }
    let last = it.intents().pop().expect("there are intents");
    assert_eq!(last["amount"], 1_000_000);
}

#[tokio::test]
async fn a_payment_requires_a_key_a_permission_and_configured_billing() {
    let it = stripe_app("required").await;
    let ada = it.app.sign_in("ada").await;
    let request = it.app.replica.request(Method::POST, PAYMENTS);
    let request = request.json(&usd(500)).bearer_auth(ada.access());
    let without = it.app.replica.send(&Method::POST, PAYMENTS, request).await;
    without.assert_problem(400, "idempotency_key_required");
    for (scope, expected) in [("payments:write", 201), ("payments:read", 403)] {
        let key = ada.new_key(&[scope]).await;
        let answer = post(&it.app.replica, &key.text, scope, &usd(500)).await;
        answer.assert_status(expected);
    }
    let reader = ada.new_key(&["payments:read"]).await;
    let listed = it
        .app
        .replica
        .call(Method::GET, PAYMENTS, Some(&reader.text), None)
        .await;
    listed.assert_status(200);
    it.app.run_jobs().await;

    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let refused = ada.pay("k-1", &usd(500)).await;
    refused.assert_problem(503, "billing_not_configured");
    ada.get(PAYMENTS).await.assert_status(200);
    let unconfigured = ada.pay("k-1", &usd(0)).await;
    unconfigured.assert_problem(422, "invalid_fields");
}

#[tokio::test]
async fn payments_are_listed_by_status_newest_first_and_only_to_their_account() {
    let it = stripe_app("listed").await;
    let (ada, eve) = (it.app.sign_in("ada").await, it.app.sign_in("eve").await);
    let mut ids = Vec::new();
    for n in 0..5 {
        it.app.clock.advance(std::time::Duration::from_secs(1));
        let created = ada.pay(&format!("k-{n}"), &usd(500 + n)).await;
        created.assert_status(201);
        ids.push(created.body["id"].as_str().expect("an id").to_owned());
    }
    ids.reverse();
    sqlx::query(
        "UPDATE payments SET status = 'succeeded', detailed_status = NULL WHERE amount < 502",
    )
    .execute(&it.app.owner_db)
    .await
    .expect("as the release before wrote them");
    let mut seen = Vec::new();
    let mut path = format!("{PAYMENTS}?limit=2");
    loop {
        let page = ada.get(&path).await;
        page.assert_status(200);
        let items = page.body["items"].as_array().expect("a list");
        seen.extend(items.iter().map(|item| item["id"].clone()));
        let Some(cursor) = page.body["next_cursor"].as_str() else {
            break;
        };
        path = format!("{PAYMENTS}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    let paid = ada.get(&format!("{PAYMENTS}?status=succeeded")).await;
    let amounts: Vec<_> = paid.body["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["amount"].as_i64())
        .collect();
    assert_eq!(amounts, [Some(501), Some(500)]);
    ada.get(&format!("{PAYMENTS}?status=paid"))
        .await
        .assert_status(400);

    assert_eq!(eve.get(PAYMENTS).await.body["items"], json!([]));
    let foreign = eve.get(&format!("{PAYMENTS}/{}", ids[0])).await;
    let unknown = eve
        .get(&format!("{PAYMENTS}/0198f7a0-0000-7000-8000-000000000000"))
        .await;
    foreign.assert_problem(404, "not_found");
    unknown.assert_problem(404, "not_found");
    let same_key = eve.pay("k-0", &usd(500)).await;
    same_key.assert_status(201);
    assert!(!ids.contains(&same_key.body["id"].as_str().expect("an id").to_owned()));
}

#[tokio::test]
async fn a_refusal_of_stripe_is_one_of_the_field_or_of_the_settings() {
    let it = stripe_app("refused").await;
    let ada = it.app.sign_in("ada").await;
    ada.pay("k-0", &usd(500)).await.assert_status(201);
    it.account.fault(fault("POST", INTENTS, 1, status(401)));
    let refused = ada.pay("k-1", &usd(500)).await;
    refused.assert_problem(503, "billing_misconfigured");
    // The settings were corrected: the request goes out under a key of its own.
    ada.pay("k-1", &usd(500)).await.assert_status(201);
    let statuses: Vec<String> =
        sqlx::query_scalar("SELECT detailed_status FROM payments ORDER BY detailed_status")
            .fetch_all(&it.app.owner_db)
            .await
            .expect("they are read");
    assert_eq!(
        statuses,
        [
            "canceled",
            "requires_payment_method",
            "requires_payment_method"
        ]
    );
    assert_eq!(it.intents().len(), 2);
}
