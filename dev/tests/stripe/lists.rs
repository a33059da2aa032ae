//! Lists, accounts, payments and refunds.

use serde_json::{Value, json};

use crate::support::Fake;

fn ids(page: &Value) -> Vec<&str> {
    page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn cursors_walk_both_ways() {
    let fake = Fake::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(fake.customer().await);
    }
    made.reverse();
    let first = fake.get("/v1/customers?limit=2").await.body;
    assert_eq!(
        (ids(&first), &first["has_more"]),
        (vec![made[0].as_str(), &made[1]], &json!(true))
    );
    let last = fake
        .get(&format!("/v1/customers?limit=3&starting_after={}", made[1]))
        .await
        .body;
    assert_eq!((ids(&last).len(), &last["has_more"]), (3, &json!(false)));
    let back = fake
        .get(&format!("/v1/customers?limit=2&ending_before={}", made[3]))
        .await
        .body;
    assert_eq!(
        (ids(&back), &back["has_more"]),
        (vec![made[1].as_str(), &made[2]], &json!(true))
    );
    assert_eq!(fake.get("/v1/customers?limit=101").await.status, 400);
    assert_eq!(
        fake.get("/v1/customers?starting_after=cus_none")
            .await
            .status,
        400
    );
    let later = fake.account.now() + 100;
    assert!(
        ids(&fake
            .get(&format!("/v1/customers?created[gte]={later}"))
            .await
            .body)
        .is_empty()
    );
}

#[tokio::test]
async fn subscriptions_are_listed_by_customer_and_status() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let ended = fake.subscribe(&customer, "").await;
    fake.account.cancel_subscription(&ended).unwrap();
    let living = fake.subscribe(&customer, "").await;
    let path = format!("/v1/subscriptions?customer={customer}");
    assert_eq!(ids(&fake.get(&path).await.body), [living.as_str()]);
    assert_eq!(
        ids(&fake.get(&format!("{path}&status=all")).await.body),
        [living.as_str(), &ended]
    );
    assert_eq!(
        ids(&fake.get(&format!("{path}&status=canceled")).await.body),
        [ended.as_str()]
    );
    let expanded = fake
        .get(&format!("{path}&expand[]=data.latest_invoice"))
        .await
        .body;
    assert_eq!(expanded["data"][0]["latest_invoice"]["status"], "paid");
}

#[tokio::test]
async fn each_secret_key_is_an_account_of_its_own() {
    let fake = Fake::start().await;
    fake.customer().await;
    let live = fake.stripe.account("sk_live_other");
    assert!(live.objects("customer").is_empty());
    let made = live
        .call("POST", "/v1/customers", &json!({ "name": "b" }))
        .unwrap();
    assert_eq!(made["livemode"], true);
    assert_eq!(fake.account.objects("customer").len(), 1);
    let id = made["id"].as_str().unwrap();
    assert_eq!(fake.get(&format!("/v1/customers/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_payment_is_declined_then_paid_and_refunded_in_parts() {
    let fake = Fake::start().await;
    let customer = fake.customer().await;
    let form = format!("amount=3000&currency=usd&customer={customer}");
    let intent = fake.post("/v1/payment_intents", &form).await.body;
    let id = intent["id"].as_str().unwrap();
    assert!(intent["client_secret"].as_str().unwrap().starts_with(id));
    fake.account
        .confirm_payment_intent(id, "pm_card_chargeCustomerFail")
        .unwrap_err();
    assert_eq!(fake.status(id), "requires_payment_method");
    let paid = fake
        .account
        .confirm_payment_intent(id, "pm_card_visa")
        .unwrap();
    assert_eq!(paid["amount_received"], 3000);
    for (amount, status) in [
        ("&amount=1000", 200),
        ("&amount=2500", 400),
        ("", 200),
        ("", 400),
    ] {
        let reply = fake
            .post("/v1/refunds", &format!("payment_intent={id}{amount}"))
            .await;
        assert_eq!(reply.status, status, "{}", reply.body);
    }
    let charge = fake
        .account
        .object(paid["latest_charge"].as_str().unwrap())
        .unwrap();
    assert_eq!(
        (&charge["amount_refunded"], &charge["refunded"]),
        (&json!(3000), &json!(true))
    );
    let canceled = fake
        .post(&format!("/v1/payment_intents/{id}/cancel"), "")
        .await;
    assert_eq!(
        canceled.body["error"]["code"],
        "payment_intent_unexpected_state"
    );
}

#[tokio::test]
async fn a_credit_from_a_cheaper_plan_pays_the_next_invoices() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let form = format!("customer={customer}&items[0][price]=price_year");
    let subscription = fake.post("/v1/subscriptions", &form).await.body;
    let item = subscription["items"]["data"][0]["id"].as_str().unwrap();
    let id = subscription["id"].as_str().unwrap();
    let form = format!(
        "items[0][id]={item}&items[0][price]=price_month&proration_behavior=always_invoice"
    );
    let changed = fake
        .post(
            &format!("/v1/subscriptions/{id}?expand[]=latest_invoice"),
            &form,
        )
        .await
        .body;
    assert_eq!(changed["latest_invoice"]["total"], 1900 - 19000);
    let credit = fake.account.object(&customer).unwrap()["balance"].clone();
    assert_eq!(credit, 1900 - 19000);
    let end = changed["items"]["data"][0]["current_period_end"]
        .as_i64()
        .unwrap();
    fake.account.advance_to(end + 3700).await;
    assert_eq!(
        fake.account.object(&customer).unwrap()["balance"],
        1900 - 19000 + 1900
    );
}
