//! Rows follow the payment intents, charges, refunds and disputes at Stripe.

use groundwork::ctx::Ctx;
use groundwork::customers;
use groundwork::ids::AccountId;
use groundwork::payments::{self, PaymentRef};
use groundwork::scope::{Exception, Scope};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PAYMENTS, row, usd};
use crate::harness::Session;
use crate::kit::stripe::{StripeApp, stripe_app};

impl StripeApp {
    /// Reads the only customer and stores what was read.
    async fn follow(&self) {
        let state = &self.app.state;
        let stripe = customers::stripe(state).expect("it is configured");
        let (account, customer): (Uuid, String) =
            sqlx::query_as("SELECT account_id, stripe_customer_id FROM billing_customers")
                .fetch_one(&self.app.owner_db)
                .await
                .expect("there is one");
        let read = payments::read(stripe, &customer).await.expect("it is read");
        let ctx = Ctx::system(state);
        let mut tx = ctx
            .begin_scoped(Scope::Exception(Exception::Job))
            .await
            .expect("it begins");
        payments::store_read(&mut tx, AccountId(account), &read, ctx.now())
            .await
            .expect("it is stored");
        tx.commit().await.expect("it commits");
    }

    /// Id of the only payment intent, and of its newest charge.
    fn intent(&self) -> (String, String) {
        let intent = self.intents().pop().expect("there is an intent");
        let text = |name: &str| intent[name].as_str().unwrap_or_default().to_owned();
        (text("id"), text("latest_charge"))
    }
}

/// The only payment, as shown.
async fn shown(session: &Session) -> Value {
    let listed = session.get(PAYMENTS).await;
    listed.assert_status(200);
    let items = listed.body["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1, "{}", listed.body);
    items[0].clone()
}

#[tokio::test]
async fn a_payment_goes_from_declined_over_authentication_to_refunded() {
    let it = stripe_app("followed").await;
    let ada = it.app.sign_in("ada").await;
    ada.pay("k-1", &usd(1_000)).await.assert_status(201);
    let (intent, _) = it.intent();

    let declined = it
        .account
        .confirm_payment_intent(&intent, "pm_card_chargeDeclined");
    assert!(declined.is_err());
    it.follow().await;
    let payment = shown(&ada).await;
    assert_eq!(payment["status"], "failed");
    assert!(payment["failure_code"].is_string());

    it.account
        .confirm_payment_intent(&intent, "pm_card_authenticationRequired")
        .expect("it waits");
    it.follow().await;
    let payment = shown(&ada).await;
    assert_eq!(payment["status"], "requires_action");
    assert_eq!(payment["failure_code"], Value::Null);

    it.account.authenticate(&intent, true).expect("it is paid");
    it.follow().await;
    assert_eq!(shown(&ada).await["status"], "succeeded");

    let (_, charge) = it.intent();
    it.account
        .refund(&charge, Some(400))
        .expect("it is refunded");
    it.follow().await;
    let payment = shown(&ada).await;
    assert_eq!(payment["status"], "partially_refunded");
    assert_eq!(payment["amount_refunded"], 400);

    it.account.refund(&charge, None).expect("it is refunded");
    it.follow().await;
    it.follow().await;
    let payment = shown(&ada).await;
    assert_eq!(payment["status"], "refunded");
    assert_eq!(payment["amount_refunded"], 1_000);
    let dashboard = ada.get("/api/v1/dashboard").await;
    assert_eq!(dashboard.body["payments"][0], payment);
}

#[tokio::test]
async fn a_dispute_is_shown_until_it_is_won_or_lost() {
    for (won, expected, before) in [
        (true, "dispute_won", "succeeded"),
        (false, "dispute_lost", "disputed"),
    ] {
        let it = stripe_app(&format!("dispute{won}")).await;
        let ada = it.app.sign_in("ada").await;
        ada.pay("k-1", &usd(1_000)).await.assert_status(201);
        let (intent, _) = it.intent();
        it.account
            .confirm_payment_intent(&intent, "pm_card_visa")
            .expect("it is paid");
        let (_, charge) = it.intent();
        let dispute = it
            .account
            .dispute(&charge, "fraudulent")
            .expect("it is disputed");
        it.follow().await;
        let payment = shown(&ada).await;
        assert_eq!(payment["status"], "disputed");
        assert_eq!(payment["dispute_status"], dispute["status"]);
        let id = dispute["id"].as_str().expect("it has an id");
        it.account.close_dispute(id, won).expect("it is closed");
        it.follow().await;
        assert_eq!(shown(&ada).await["status"], expected);
        // What the release before reads is a word that it knows.
        let status: String = sqlx::query_scalar("SELECT status FROM payments")
            .fetch_one(&it.app.owner_db)
            .await
            .expect("it is read");
        assert_eq!(status, before);
    }
}

#[tokio::test]
async fn payments_that_were_made_at_stripe_are_stored_and_odd_ones_hide_no_others() {
    let it = stripe_app("made").await;
    let ada = it.app.sign_in("ada").await;
    ada.pay("k-1", &usd(1_000)).await.assert_status(201);
    let customer = it.intents()[0]["customer"].clone();
    let made = json!({ "amount": 700, "currency": "eur", "customer": customer, "description": "By hand",
        "metadata": { "payment_id": "none" } });
    it.account
        .call("POST", "/v1/payment_intents", &made)
        .expect("it is made");
    let odd = it
        .account
        .call("POST", "/v1/payment_intents", &made)
        .expect("it is made");
    it.account
        .edit_object(odd["id"].as_str().expect("an id"), "", |intent| {
            intent["amount"] = json!("much");
        });
    it.follow().await;
    it.follow().await;
    let listed = ada.get(PAYMENTS).await;
    let items = listed.body["items"].as_array().expect("a list");
    let amounts: Vec<_> = items.iter().map(|item| &item["amount"]).collect();
    assert_eq!(amounts, [&json!(700), &json!(1_000)]);
    assert_eq!(items[0]["currency"], "EUR");
    assert_eq!(items[0]["description"], "By hand");
}

#[tokio::test]
async fn a_payment_whose_id_is_in_anothers_metadata_is_not_changed() {
    let it = stripe_app("forged").await;
    let ada = it.app.sign_in("ada").await;
    let created = ada.pay("k-1", &usd(1_000)).await;
    let customer = it.intents()[0]["customer"].clone();
    let forged = json!({ "amount": 1, "currency": "usd", "customer": customer,
        "metadata": { "payment_id": created.body["id"] } });
    it.account
        .call("POST", "/v1/payment_intents", &forged)
        .expect("it is made");
    it.follow().await;
    let id = created.body["id"].as_str().expect("an id");
    let payment = ada.get(&format!("{PAYMENTS}/{id}")).await;
    assert_eq!(payment.body["amount"], 1_000);
}

#[tokio::test]
async fn a_pending_payment_is_linked_by_a_read_and_its_reply_can_still_be_fetched() {
    let it = stripe_app("linked").await;
    let ada = it.app.sign_in("ada").await;
    it.lose(true);
    ada.pay("k-1", &usd(500)).await.assert_status(503);
    it.account.clear_faults();
    it.follow().await;
    let (_, detailed, intent, is_answered) = row(&it.app).await;
    assert_eq!(detailed, "requires_payment_method");
    assert!(intent.is_some() && !is_answered);
    let settled = ada.pay("k-1", &usd(500)).await;
    settled.assert_status(201);
    assert_eq!(
        settled.body["client_secret"],
        it.intents()[0]["client_secret"]
    );
    assert_eq!(it.intents().len(), 1);
}

#[tokio::test]
async fn the_customer_of_a_refund_or_dispute_is_found_by_the_row_or_at_stripe() {
    let it = stripe_app("found").await;
    let ada = it.app.sign_in("ada").await;
    ada.pay("k-1", &usd(1_000)).await.assert_status(201);
    let (intent, _) = it.intent();
    it.account
        .confirm_payment_intent(&intent, "pm_card_visa")
        .expect("it is paid");
    let (_, charge) = it.intent();
    let customer = it.intents()[0]["customer"].as_str().map(str::to_owned);
    let find = async |payment| {
        let found = payments::find_customer_of(&it.app.state, payment).await;
        found.expect("it is looked up")
    };
    // The charge is not stored yet.
    assert_eq!(find(PaymentRef::Charge(&charge)).await, customer);
    it.follow().await;
    it.account.clear_requests();
    assert_eq!(find(PaymentRef::Charge(&charge)).await, customer);
    assert_eq!(find(PaymentRef::Intent(&intent)).await, customer);
    assert!(it.account.requests().is_empty());
    assert_eq!(find(PaymentRef::Intent("pi_unknown")).await, None);
}

#[tokio::test]
async fn a_payment_of_an_invoice_has_its_subscription() {
    let it = stripe_app("invoiced").await;
    let ada = it.app.sign_in("ada").await;
    ada.pay("k-1", &usd(1_000)).await.assert_status(201);
    let customer = it.intents()[0]["customer"].clone();
    let made = json!({ "amount": 2_900, "currency": "usd", "customer": customer });
    let intent = it
        .account
        .call("POST", "/v1/payment_intents", &made)
        .expect("it is made");
    let intent = intent["id"].as_str().expect("an id").to_owned();
    it.account.edit_object(&intent, "", |intent| {
        intent["payment_details"]["order_reference"] = json!("in_1");
    });
    sqlx::raw_sql(
        "INSERT INTO subscriptions (id, user_id, plan, status, stripe_subscription_id, current_period_start,
                                    current_period_end, created_at, updated_at)
         SELECT gen_random_uuid(), id, 'pro', 'active', 'sub_1', now(), now(), now(), now() FROM users;
         INSERT INTO invoices (id, account_id, stripe_invoice_id, stripe_subscription_id, status, total, amount_due,
                               amount_paid, amount_remaining, currency, attempt_count, period_start, period_end,
                               created_at, updated_at)
         SELECT gen_random_uuid(), id, 'in_1', 'sub_1', 'open', 2900, 2900, 0, 2900, 'USD', 1, now(), now(), now(), now()
         FROM users",
    )
    .execute(&it.app.owner_db)
    .await
    .expect("they are written");
    it.follow().await;
    it.account
        .confirm_payment_intent(&intent, "pm_card_visa")
        .expect("it is paid");
    it.follow().await;
    let linked: (String, bool, bool) = sqlx::query_as(
        "SELECT detailed_status, subscription_id = (SELECT id FROM subscriptions), stripe_charge_id IS NOT NULL
         FROM payments WHERE stripe_invoice_id = 'in_1'",
    )
    .fetch_one(&it.app.owner_db)
    .await
    .expect("it is stored");
    assert_eq!(linked, ("succeeded".to_owned(), true, true));
    assert_eq!(
        ada.get(PAYMENTS).await.body["items"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}
