//! What follows an account at Stripe: seats, the address, and the end of a deleted account.

use groundwork::billing::FollowAccounts;
use groundwork_dev::stripe::Outcome;
use reqwest::Method;
use serde_json::{Value, json};

use super::{CHECKOUT, SUBSCRIPTION, billing_app};
use crate::harness::Session;
use crate::kit::stripe::{StripeApp, fault, status};
use crate::organisations::{ORGANISATIONS, proof};

impl StripeApp {
    async fn follow_accounts(&self) {
        job_queue::enqueue(&self.app.state.db, &FollowAccounts {}, None)
            .await
            .expect("it is enqueued");
        self.settle().await;
    }

    fn quantity(&self, subscription: &str) -> Value {
        let object = self.account.object(subscription).expect("it is there");
        object["items"]["data"][0]["quantity"].clone()
    }

    fn changes(&self) -> usize {
        let calls = self.account.requests();
        calls.iter().filter(|call| call.method != "GET").count()
    }

    async fn buy_for(&self, buyer: &Session, organisation: &str) -> String {
        let body = Some(json!({ "plan": "pro" }));
        let answer = buyer
            .for_account(organisation, Method::POST, CHECKOUT, body)
            .await;
        answer.assert_status(200);
        let session = self.newest("checkout.session");
        self.account
            .pay_checkout(&session, Outcome::Paid)
            .expect("it is paid");
        self.settle().await;
        self.newest("subscription")
    }
}

#[tokio::test]
async fn the_seats_of_an_organisation_follow_its_members() {
    let it = billing_app("seats").await;
    let ada = it.app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    it.app.join(&ada, &acme, "bob", "member").await;
    let id = it.buy_for(&ada, &acme).await;
    assert_eq!(it.quantity(&id), 2);
    it.app.join(&ada, &acme, "eve", "member").await;
    it.app.join(&ada, &acme, "kim", "member").await;
    it.account.clear_requests();
    // The job runs twice at the same time and once more.
    for _ in 0..2 {
        job_queue::enqueue(&it.app.state.db, &FollowAccounts {}, None)
            .await
            .expect("it is enqueued");
    }
    it.follow_accounts().await;
    assert_eq!(it.quantity(&id), 4);
    assert!((1..=3).contains(&it.changes()));
    it.account.clear_requests();
    it.follow_accounts().await;
    assert_eq!(it.changes(), 0, "nothing is left to change");
    let shown = ada.get_for(&acme, SUBSCRIPTION).await;
    assert_eq!(shown.body["subscription"]["quantity"], 4);
    // The personal plan is another one.
    assert_eq!(ada.plan().await, "free");
    assert_eq!(shown.body["plan"], "pro");
}

#[tokio::test]
async fn members_manage_billing_by_their_role() {
    let it = billing_app("roles").await;
    let ada = it.app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    for (role, expected) in [
        ("billing", 200),
        ("member", 403),
        ("read_only", 403),
        ("admin", 200),
    ] {
        let session = it.app.join(&ada, &acme, role, role).await;
        let body = Some(json!({ "plan": "pro" }));
        let answer = session
            .for_account(&acme, Method::POST, CHECKOUT, body)
            .await;
        assert_eq!(answer.status, expected, "{role}: {}", answer.body);
        let refused = session
            .for_account(&acme, Method::POST, "/api/v1/billing/cancel", None)
            .await;
        let expected = if expected == 200 { 409 } else { 403 };
        assert_eq!(refused.status, expected, "{role}: {}", refused.body);
    }
    let eve = it.app.sign_in("eve").await;
    let body = Some(json!({ "plan": "pro" }));
    let foreign = eve.for_account(&acme, Method::POST, CHECKOUT, body).await;
    foreign.assert_problem(404, "not_found");
    // Seats have changed between the two.
    let sessions = it.account.objects("checkout.session");
    let open = sessions.iter().filter(|it| it["status"] == "open");
    assert_eq!(open.count(), 1);
    it.settle().await;
}

#[tokio::test]
async fn a_changed_address_reaches_the_customer() {
    let it = billing_app("address").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let customer = it.newest("customer");
    sqlx::query("UPDATE users SET email = 'ada@new.example'")
        .execute(&it.app.owner_db)
        .await
        .expect("it is changed");
    it.account
        .fault(fault("POST", "/v1/customers", 10, status(429)));
    it.follow_accounts().await;
    let email = || it.account.object(&customer).expect("it is there")["email"].clone();
    assert_eq!(email(), "ada@example.com");
    it.account.clear_faults();
    it.follow_accounts().await;
    assert_eq!(email(), "ada@new.example");
    it.account.clear_requests();
    it.follow_accounts().await;
    assert!(it.account.requests().is_empty());
}

#[tokio::test]
async fn the_subscription_of_a_deleted_account_ends_however_often_it_must_be_tried() {
    let it = billing_app("deleted").await;
    let ada = it.app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let of_acme = it.buy_for(&ada, &acme).await;
    let own = it.buy(&ada).await;
    let is_over = |id: &str| it.account.object(id).expect("it is there")["status"] == "canceled";
    let deleted = ada
        .delete(&format!("{ORGANISATIONS}/{acme}"), Some(proof()))
        .await;
    assert!(deleted.status.is_success(), "{}", deleted.body);
    it.account
        .fault(fault("DELETE", "/v1/subscriptions", 10, status(503)));
    it.follow_accounts().await;
    assert!(!is_over(&of_acme));
    it.account.clear_faults();
    it.follow_accounts().await;
    assert!(is_over(&of_acme) && !is_over(&own));
    sqlx::query("UPDATE users SET deleted_at = now()")
        .execute(&it.app.owner_db)
        .await
        .expect("it is deleted");
    it.follow_accounts().await;
    assert!(is_over(&own));
    assert_eq!(it.statuses().await, ["canceled", "canceled"]);
    it.account.clear_requests();
    it.follow_accounts().await;
    assert!(it.account.requests().is_empty());
}

#[tokio::test]
async fn a_subscription_that_stripe_no_longer_has_ends_here_as_well() {
    let it = billing_app("vanished").await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    sqlx::query("UPDATE subscriptions SET stripe_subscription_id = 'sub_vanished' WHERE stripe_subscription_id = $1")
        .bind(&id)
        .execute(&it.app.owner_db)
        .await
        .expect("it is changed");
    let event = it.account.events().pop().expect("there is one");
    it.account
        .resend(event["id"].as_str().expect("an id"), true, None)
        .expect("it is sent");
    it.settle().await;
    let all: Vec<String> = it
        .read("SELECT stripe_subscription_id || ' ' || status FROM subscriptions WHERE status = 'canceled'")
        .await;
    assert_eq!(all, ["sub_vanished canceled"]);
    assert_eq!(it.statuses().await.len(), 2);
    assert_eq!(ada.plan().await, "pro");
}
