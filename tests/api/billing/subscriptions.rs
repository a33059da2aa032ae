//! The running subscription: canceled, resumed, managed, and what the clock brings.

use std::time::Duration;

use groundwork::billing::ReconcileStale;
use groundwork_dev::stripe::{AfterRetries, FaultAction, Outcome, PortalAct};
use serde_json::{Value, json};

use super::{SUBSCRIPTION, billing_app, billing_app_with};
use crate::harness::{Answer, Session};
use crate::kit::stripe::{StripeApp, fault, status};

const CANCEL: &str = "/api/v1/billing/cancel";
const RESUME: &str = "/api/v1/billing/resume";
const PORTAL: &str = "/api/v1/billing/portal";

impl StripeApp {
    /// Ada again, after her tokens have expired.
    async fn ada(&self) -> Session {
        self.app.log_in("ada@example.com").await
    }

    /// Moves the clock by days, an hour at the end for invoices that are drafts, and processes what happened.
    async fn pass_days(&self, days: u64) {
        self.advance(Duration::from_hours(24 * days + 2)).await;
        self.settle().await;
    }

    fn emails(&self, what: &str) -> usize {
        let all = self.app.inbox.emails_to("ada@example.com");
        all.iter().filter(|email| email.text.contains(what)).count()
    }
}

async fn subscription(session: &Session) -> Value {
    let shown = session.get(SUBSCRIPTION).await;
    shown.assert_status(200);
    shown.body["subscription"].clone()
}

async fn act(session: &Session, path: &str) -> Answer {
    session.post(path, json!({})).await
}

#[tokio::test]
async fn a_cancellation_ends_the_subscription_with_its_period_unless_it_is_undone() {
    let it = billing_app("cancel").await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    act(&ada, RESUME)
        .await
        .assert_problem(409, "nothing_to_resume");
    let canceled = act(&ada, CANCEL).await;
    canceled.assert_status(200);
    let end = canceled.body["subscription"]["current_period_end"].clone();
    assert_eq!(canceled.body["subscription"]["cancel_at"], end);
    assert_eq!(canceled.body["subscription"]["status"], "active");
    assert_eq!(
        it.account.object(&id).expect("it is there")["cancel_at_period_end"],
        true
    );
    act(&ada, CANCEL).await.assert_status(200);
    assert_eq!(it.app.audited("subscription_canceled").await, 1);
    let resumed = act(&ada, RESUME).await;
    resumed.assert_status(200);
    assert_eq!(resumed.body["subscription"]["cancel_at"], Value::Null);
    assert_eq!(
        it.account.object(&id).expect("it is there")["cancel_at"],
        Value::Null
    );
    assert_eq!(it.app.audited("subscription_resumed").await, 1);
    act(&ada, CANCEL).await.assert_status(200);
    it.settle().await;
    it.pass_days(32).await;
    let ada = it.ada().await;
    assert_eq!(subscription(&ada).await["status"], "canceled");
    assert_eq!(ada.plan().await, "free");
    assert_eq!(it.emails("has ended"), 1);
    act(&ada, CANCEL)
        .await
        .assert_problem(409, "nothing_to_cancel");
    act(&ada, RESUME)
        .await
        .assert_problem(409, "nothing_to_resume");
}

#[tokio::test]
async fn a_cancellation_in_the_portal_is_undone_and_ends_in_time_by_our_clock() {
    let it = billing_app("portal").await;
    let ada = it.app.sign_in("ada").await;
    act(&ada, PORTAL)
        .await
        .assert_problem(409, "nothing_to_manage");
    it.buy(&ada).await;
    let customer = it.newest("customer");
    let opened = act(&ada, PORTAL).await;
    opened.assert_status(200);
    assert_eq!(it.app.audited("portal_opened").await, 1);
    let session = it
        .account
        .objects("billing_portal.session")
        .pop()
        .expect("it is opened");
    assert_eq!(opened.body, json!({ "url": session["url"] }));
    assert_eq!(session["return_url"], "http://127.0.0.1/billing-return");
    it.account
        .portal(&customer, &PortalAct::Cancel)
        .expect("it is canceled");
    it.settle().await;
    let shown = subscription(&ada).await;
    assert_eq!(
        (&shown["cancel_at_period_end"], &shown["cancel_at"]),
        (&json!(false), &shown["current_period_end"])
    );
    act(&ada, RESUME).await.assert_status(200);
    assert_eq!(subscription(&ada).await["cancel_at"], Value::Null);
    it.account
        .portal(&customer, &PortalAct::Cancel)
        .expect("it is canceled");
    it.settle().await;
    // No event comes any more.
    it.account.hold();
    it.advance_days(32).await;
    let ada = it.ada().await;
    assert_eq!(ada.plan().await, "free");
    assert_eq!(it.statuses().await, ["active"]);
    job_queue::enqueue(&it.app.state.db, &ReconcileStale {}, None)
        .await
        .expect("it is enqueued");
    it.settle().await;
    assert_eq!(it.statuses().await, ["canceled"]);
}

#[tokio::test]
async fn another_plan_is_chosen_in_the_portal() {
    let it = billing_app("upgrade").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let act = PortalAct::ChangePrice("price_enterprise".to_owned());
    it.account
        .portal(&it.newest("customer"), &act)
        .expect("it is changed");
    it.settle().await;
    assert_eq!(ada.plan().await, "enterprise");
    assert_eq!(subscription(&ada).await["plan"], "enterprise");
    assert_eq!(it.app.audited("subscription_changed").await, 2);
}

#[tokio::test]
async fn calls_that_fail_change_nothing_and_can_be_repeated() {
    let it = billing_app("failed").await;
    let ada = it.app.sign_in("ada").await;
    let id = it.buy(&ada).await;
    for action in [status(429), status(500), FaultAction::CutBefore] {
        it.account.fault(fault("POST", "/v1/", 20, action));
        for path in [CANCEL, PORTAL] {
            let refused = act(&ada, path).await;
            refused.assert_problem(503, "billing_unavailable");
        }
        it.account.clear_faults();
        act(&ada, PORTAL).await.assert_status(200);
        act(&ada, CANCEL).await.assert_status(200);
        act(&ada, RESUME).await.assert_status(200);
    }
    it.account
        .fault(fault("POST", "/v1/", 20, FaultAction::CutAfterEffect));
    // The repetition gets the lost response.
    act(&ada, CANCEL).await.assert_status(200);
    it.account.clear_faults();
    it.settle().await;
    // It has ended, and the event is not here yet.
    it.account.hold();
    it.account.cancel_subscription(&id).expect("it ends");
    act(&ada, RESUME)
        .await
        .assert_problem(409, "nothing_to_resume");
    assert_eq!(ada.plan().await, "free");
    assert_eq!(it.statuses().await, ["canceled"]);
    act(&ada, CANCEL)
        .await
        .assert_problem(409, "nothing_to_cancel");
    it.account.release(&groundwork_dev::stripe::Release::AsSent);
    it.settle().await;
}

#[tokio::test]
async fn a_trial_is_announced_and_then_paid_with_a_receipt() {
    let it = billing_app_with("trialed", &[("BILLING_TRIAL_DAYS", "14")]).await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    assert!(it.notices().await.is_empty());
    it.pass_days(11).await;
    it.pass_days(1).await;
    assert_eq!(it.notices().await, ["trial_ending"]);
    assert_eq!(it.emails("trial"), 1);
    it.pass_days(3).await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(it.emails("We have received 29.00 USD"), 1);
    let ada = it.ada().await;
    assert_eq!(ada.plan().await, "pro");
    let invoices = ada.get("/api/v1/billing/invoices").await;
    assert_eq!(invoices.body["items"][0]["status"], "paid");
    assert_eq!(invoices.body["items"][0]["amount_paid"], 2_900);
}

#[tokio::test]
async fn a_renewal_that_fails_is_announced_once_for_each_attempt_and_paid_within_the_grace() {
    let it = billing_app("renewal").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    it.account
        .pay_checkout(&session, Outcome::PaidThenFails)
        .expect("it is paid");
    it.settle().await;
    it.pass_days(31).await;
    let ada = it.ada().await;
    assert_eq!(it.statuses().await, ["past_due"]);
    assert_eq!(ada.plan().await, "pro");
    let failed = |it: &StripeApp| it.emails("We could not collect 29.00 USD");
    assert_eq!(failed(&it), 1);
    it.settle().await;
    it.pass_days(4).await;
    assert_eq!(failed(&it), 2);
    let customer = it.newest("customer");
    let card = PortalAct::NewCard("pm_card_visa".to_owned());
    it.account.portal(&customer, &card).expect("it is attached");
    let invoice = it.newest("invoice");
    it.account
        .call("POST", &format!("/v1/invoices/{invoice}/pay"), &json!({}))
        .expect("it is paid");
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(it.emails("We have received 29.00 USD"), 2);
    let overdue: Vec<bool> = it
        .read("SELECT past_due_since IS NOT NULL FROM subscriptions")
        .await;
    assert_eq!(overdue, [false]);
}

#[tokio::test]
async fn a_renewal_that_is_never_paid_ends_the_plan_after_the_grace_and_the_subscription_at_last() {
    for (name, after, expected) in [
        ("ended", AfterRetries::Cancel, "canceled"),
        ("unpaid", AfterRetries::Unpaid, "unpaid"),
    ] {
        let it = billing_app_with(name, &[("PLAN_PAST_DUE_GRACE", "2d")]).await;
        it.account.set_after_retries(after);
        let ada = it.app.sign_in("ada").await;
        let session = it.start(&ada).await;
        it.account
            .pay_checkout(&session, Outcome::PaidThenFails)
            .expect("it is paid");
        it.settle().await;
        it.pass_days(31).await;
        assert_eq!(it.ada().await.plan().await, "pro");
        it.pass_days(2).await;
        assert_eq!(it.statuses().await, ["past_due"]);
        assert_eq!(it.ada().await.plan().await, "free");
        it.pass_days(5).await;
        assert_eq!(it.statuses().await, [expected]);
        assert_eq!(it.emails("has ended"), usize::from(expected == "canceled"));
        let ada = it.ada().await;
        assert_eq!(ada.plan().await, "free");
        if expected == "unpaid" {
            // One that is not paid ends at once.
            let ended = act(&ada, CANCEL).await;
            ended.assert_status(200);
            assert_eq!(ended.body["subscription"]["status"], "canceled");
            it.settle().await;
        }
        it.buy(&ada).await;
        assert_eq!(ada.plan().await, "pro");
    }
}

#[tokio::test]
async fn an_authentication_that_a_renewal_needs_is_announced_with_its_link() {
    let it = billing_app("authentication").await;
    let ada = it.app.sign_in("ada").await;
    it.buy(&ada).await;
    let card = PortalAct::NewCard("pm_card_authenticationRequired".to_owned());
    it.account
        .portal(&it.newest("customer"), &card)
        .expect("it is attached");
    it.pass_days(32).await;
    assert_eq!(it.statuses().await, ["past_due"]);
    let email = it.app.inbox.emails_to("ada@example.com");
    let email = email
        .iter()
        .find(|it| it.text.contains("confirm a payment of 29.00 USD"));
    let email = email.expect("it is announced");
    let invoice = it
        .account
        .object(&it.newest("invoice"))
        .expect("it is there");
    let link = invoice["hosted_invoice_url"]
        .as_str()
        .expect("it has a page");
    assert!(email.text.contains(link), "{}", email.text);
}
