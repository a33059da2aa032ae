//! What an account's clock brings.

use groundwork_dev::stripe::{AfterRetries, Outcome, PortalAct};
use serde_json::json;

use crate::support::Fake;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

fn period_end(fake: &Fake, id: &str) -> i64 {
    fake.account.object(id).unwrap()["items"]["data"][0]["current_period_end"]
        .as_i64()
        .unwrap()
}

fn latest_invoice(fake: &Fake, id: &str) -> serde_json::Value {
    let subscription = fake.account.object(id).unwrap();
    fake.account
        .object(subscription["latest_invoice"].as_str().unwrap())
        .unwrap()
}

#[tokio::test]
async fn a_renewal_is_drafted_then_paid_an_hour_later() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake.subscribe(&customer, "").await;
    let end = period_end(&fake, &id);
    fake.account.advance_to(end + 60).await;
    assert_eq!(latest_invoice(&fake, &id)["status"], "draft");
    assert_eq!(
        latest_invoice(&fake, &id)["billing_reason"],
        "subscription_cycle"
    );
    assert!(period_end(&fake, &id) > end);
    fake.account.advance_to(end + HOUR + 60).await;
    let invoice = latest_invoice(&fake, &id);
    assert_eq!(
        (&invoice["status"], &invoice["amount_paid"]),
        (&json!("paid"), &json!(1900))
    );
    assert_eq!(fake.status(&id), "active");
}

#[tokio::test]
async fn a_failed_renewal_is_retried_and_then_ends_the_subscription() {
    for (after, status) in [
        (AfterRetries::Cancel, "canceled"),
        (AfterRetries::Unpaid, "unpaid"),
    ] {
        let fake = Fake::start().await;
        fake.account.set_after_retries(after);
        let customer = fake.customer().await;
        let session = fake.checkout(&customer, "").await;
        let session = fake
            .account
            .pay_checkout(session["id"].as_str().unwrap(), Outcome::PaidThenFails)
            .unwrap();
        let id = session["subscription"].as_str().unwrap().to_owned();
        let failed = period_end(&fake, &id) + HOUR;
        fake.account.advance_to(failed + 1).await;
        assert_eq!(fake.status(&id), "past_due");
        let invoice = latest_invoice(&fake, &id);
        assert_eq!(invoice["next_payment_attempt"], failed + 3 * DAY);
        fake.account.advance_to(failed + 5 * DAY + 1).await;
        assert_eq!(latest_invoice(&fake, &id)["attempt_count"], 3);
        assert_eq!(fake.status(&id), "past_due");
        fake.account.advance_to(failed + 7 * DAY + 1).await;
        assert_eq!(fake.status(&id), status);
        let failures = fake
            .event_types()
            .iter()
            .filter(|kind| *kind == "invoice.payment_failed")
            .count();
        assert_eq!(failures, 4);
    }
}

#[tokio::test]
async fn a_new_card_pays_what_is_past_due() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake.subscribe(&customer, "").await;
    fake.account
        .portal(
            &customer,
            &PortalAct::NewCard("pm_card_chargeCustomerFail".into()),
        )
        .unwrap();
    let failed = period_end(&fake, &id) + HOUR;
    fake.account.advance_to(failed + 1).await;
    assert_eq!(fake.status(&id), "past_due");
    fake.account
        .portal(&customer, &PortalAct::NewCard("pm_card_visa".into()))
        .unwrap();
    fake.account.advance_to(failed + 3 * DAY + 1).await;
    assert_eq!(fake.status(&id), "active");
    assert_eq!(latest_invoice(&fake, &id)["status"], "paid");
}

#[tokio::test]
async fn a_trial_is_announced_and_then_paid() {
    let fake = Fake::start().await;
    let customer = fake.customer().await;
    let session = fake
        .checkout(&customer, "&subscription_data[trial_period_days]=14")
        .await;
    assert_eq!(session["amount_total"], 0);
    let session = fake
        .account
        .pay_checkout(session["id"].as_str().unwrap(), Outcome::Paid)
        .unwrap();
    let id = session["subscription"].as_str().unwrap().to_owned();
    assert_eq!(fake.status(&id), "trialing");
    assert_eq!(latest_invoice(&fake, &id)["amount_due"], 0);
    let end = fake.account.object(&id).unwrap()["trial_end"]
        .as_i64()
        .unwrap();
    fake.account.advance_to(end - 3 * DAY + 1).await;
    assert!(
        fake.event_types()
            .contains(&"customer.subscription.trial_will_end".to_owned())
    );
    fake.account.advance_to(end + HOUR + 1).await;
    assert_eq!(fake.status(&id), "active");
    assert_eq!(latest_invoice(&fake, &id)["amount_paid"], 1900);
}

#[tokio::test]
async fn a_status_that_was_edited_by_hand_lets_the_clock_move() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake.subscribe(&customer, "").await;
    fake.account
        .edit_object(&id, "customer.subscription.updated", |it| {
            it["status"] = "trialing".into();
        });
    let to = fake.account.now() + 40 * DAY;
    fake.account.advance_to(to).await;
    assert!(fake.account.now() >= to);
    assert_eq!(fake.status(&id), "trialing");
}

#[tokio::test]
async fn a_trial_without_a_card_is_paused() {
    let fake = Fake::start().await;
    let customer = fake.customer().await;
    let more = "&subscription_data[trial_period_days]=14&payment_method_collection=if_required\
                &subscription_data[trial_settings][end_behavior][missing_payment_method]=pause";
    let session = fake.checkout(&customer, more).await;
    let session = fake
        .account
        .pay_checkout(session["id"].as_str().unwrap(), Outcome::Paid)
        .unwrap();
    let id = session["subscription"].as_str().unwrap().to_owned();
    let end = fake.account.object(&id).unwrap()["trial_end"]
        .as_i64()
        .unwrap();
    fake.account.advance_to(end + 40 * DAY).await;
    assert_eq!(fake.status(&id), "paused");
    fake.account
        .portal(&customer, &PortalAct::NewCard("pm_card_visa".into()))
        .unwrap();
    assert_eq!(fake.status(&id), "active");
    assert_eq!(latest_invoice(&fake, &id)["status"], "paid");
}

#[tokio::test]
async fn the_portal_cancels_by_cancel_at() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake.subscribe(&customer, "").await;
    let end = period_end(&fake, &id);
    let canceled = fake.account.portal(&customer, &PortalAct::Cancel).unwrap();
    assert_eq!(
        (&canceled["cancel_at"], &canceled["cancel_at_period_end"]),
        (&json!(end), &json!(false))
    );
    let resumed = fake.account.portal(&customer, &PortalAct::Resume).unwrap();
    assert_eq!(
        (&resumed["cancel_at"], &resumed["canceled_at"]),
        (&json!(null), &json!(null))
    );
    fake.account.portal(&customer, &PortalAct::Cancel).unwrap();
    fake.account.advance_to(end + 1).await;
    let ended = fake.account.object(&id).unwrap();
    assert_eq!(
        (&ended["status"], &ended["ended_at"]),
        (&json!("canceled"), &json!(end))
    );
    let last = fake.account.events().pop().unwrap();
    assert_eq!(
        (&last["type"], &last["created"]),
        (&json!("customer.subscription.deleted"), &json!(end))
    );
}

#[tokio::test]
async fn what_is_never_paid_expires() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_authenticationRequired").await;
    let id = fake.subscribe(&customer, "").await;
    assert_eq!(fake.status(&id), "incomplete");
    let session = fake.checkout(&customer, "").await;
    let session = session["id"].as_str().unwrap();
    let now = fake.account.now();
    fake.account.advance_to(now + 23 * HOUR + 60).await;
    assert_eq!(fake.status(&id), "incomplete_expired");
    assert_eq!(fake.status(session), "open");
    fake.account.advance_to(now + 24 * HOUR + 60).await;
    assert_eq!(fake.status(session), "expired");
    assert!(fake.account.pay_checkout(session, Outcome::Paid).is_err());
}

#[tokio::test]
async fn authentication_completes_an_incomplete_subscription() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_authenticationRequired").await;
    let id = fake.subscribe(&customer, "").await;
    let intent = fake.account.objects("payment_intent").pop().unwrap();
    assert_eq!(intent["status"], "requires_action");
    fake.account
        .authenticate(intent["id"].as_str().unwrap(), true)
        .unwrap();
    assert_eq!(fake.status(&id), "active");
}

#[tokio::test]
async fn usage_is_charged_by_the_last_value_of_each_hour() {
    let fake = Fake::start().await;
    let customer = fake.customer_with("pm_card_visa").await;
    let id = fake
        .subscribe(&customer, "&items[1][price]=price_usage")
        .await;
    let now = fake.account.now();
    let hour = now - now % HOUR + HOUR;
    fake.account.advance_to(hour + 3 * HOUR).await;
    for (at, value) in [(hour + 10, 5), (hour + 20, 7), (hour + HOUR + 5, 3)] {
        let form = format!(
            "event_name=requests&payload[stripe_customer_id]={customer}&payload[value]={value}&timestamp={at}&identifier=i{at}"
        );
        assert_eq!(
            fake.post("/v1/billing/meter_events", &form).await.status,
            200
        );
        let again = fake.post("/v1/billing/meter_events", &form).await;
        assert_eq!(
            (again.status, &again.body["error"]["code"]),
            (400, &json!("duplicate_meter_event"))
        );
    }
    let path = format!(
        "/v1/billing/meters/mtr_requests/event_summaries?customer={customer}&start_time={hour}&end_time={}&value_grouping_window=hour",
        hour + 2 * HOUR
    );
    let summaries = fake.get(&path).await.body;
    let values: Vec<f64> = summaries["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["aggregated_value"].as_f64().unwrap())
        .collect();
    assert_eq!(values, [3.0, 7.0]);
    fake.account
        .advance_to(period_end(&fake, &id) + HOUR + 60)
        .await;
    assert_eq!(latest_invoice(&fake, &id)["amount_paid"], 1900 + 20);
}
