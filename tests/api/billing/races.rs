//! Checkouts at the same time, and processes that are killed between two steps.

use std::time::Duration;

use clock::Clock;
use futures_util::future::join_all;
use groundwork_dev::stripe::{FaultAction, Outcome};
use reqwest::Method;
use serde_json::json;
use sqlx::Connection as _;

use super::{API_VERSION, CHECKOUT, PRICES, WEBHOOK, billing_app, catalog};
use crate::harness::Session;
use crate::kit::stripe::{StripeApp, fault};
use crate::kit::wait::until;
use crate::organisations::races::until_waiting;
use crate::process::Server;

const CUSTOMERS: &str = "/v1/customers";
const SESSIONS: &str = "/v1/checkout/sessions";

#[tokio::test]
async fn checkouts_at_once_have_one_customer_and_one_session() {
    let it = billing_app("race").await;
    let ada = it.app.sign_in("ada").await;
    for path in [CUSTOMERS, SESSIONS] {
        it.account
            .fault(fault("POST", path, 20, FaultAction::Delay(300)));
    }
    let all = (0..10).map(|_| ada.post(CHECKOUT, json!({ "plan": "pro" })));
    let answers = join_all(all).await;
    let urls: Vec<_> = answers
        .iter()
        .filter(|it| it.status == 200)
        .map(|it| &it.body["url"])
        .collect();
    assert!(!urls.is_empty());
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    for answer in answers.iter().filter(|it| it.status != 200) {
        answer.assert_problem(503, "billing_unavailable");
    }
    assert_eq!(it.account.objects("customer").len(), 1);
    assert_eq!(it.account.objects("checkout.session").len(), 1);
    assert_eq!(it.count("checkouts").await, 1);
    it.account.clear_faults();
    it.settle().await;
}

/// Without the lock on the customer both begin a checkout, and the index refuses one with an error.
#[tokio::test]
async fn checkouts_of_two_plans_at_once_leave_one_open_session() {
    let it = billing_app("plans").await;
    let ada = it.app.sign_in("ada").await;
    // The customer is there, so that both reach the checkout together.
    ada.post(CHECKOUT, json!({ "plan": "pro", "interval": "year" }))
        .await
        .assert_status(200);
    let session = it.newest("checkout.session");
    it.account
        .call("POST", &format!("{SESSIONS}/{session}/expire"), &json!({}))
        .expect("it expires");
    let (mut holder, mut observer) = (it.app.owner().await, it.app.owner().await);
    let mut held = holder.begin().await.expect("it begins");
    sqlx::query("SELECT account_id FROM billing_customers FOR UPDATE")
        .fetch_all(&mut *held)
        .await
        .expect("they are locked");
    let pro = ada.post(CHECKOUT, json!({ "plan": "pro" }));
    let enterprise = ada.post(CHECKOUT, json!({ "plan": "enterprise" }));
    let release = async {
        until_waiting(&mut observer, 2).await;
        held.commit().await.expect("they are unlocked");
    };
    let (pro, enterprise, ()) = tokio::join!(pro, enterprise, release);
    for answer in [&pro, &enterprise] {
        assert!(
            matches!(answer.status.as_u16(), 200 | 503),
            "{}",
            answer.body
        );
    }
    assert!(pro.status == 200 || enterprise.status == 200);
    let sessions = it.account.objects("checkout.session");
    let open = sessions.iter().filter(|it| it["status"] == "open").count();
    assert_eq!(open, 1, "{sessions:?}");
    assert_eq!(
        it.count("checkouts WHERE status IN ('pending', 'open')")
            .await,
        1
    );
    it.settle().await;
}

/// The second request looks for the session of the first at Stripe before it exists, and finishes the checkout after it
/// was stored. The session must not stay open then.
#[tokio::test]
async fn a_session_that_is_created_while_another_plan_is_chosen_is_expired() {
    let it = billing_app("chosen").await;
    let ada = it.app.sign_in("ada").await;
    it.account
        .fault(fault("POST", SESSIONS, 1, FaultAction::Delay(2000)));
    it.account
        .fault(fault("GET", SESSIONS, 1, FaultAction::DelayAnswer(4000)));
    let pro = ada.post(CHECKOUT, json!({ "plan": "pro" }));
    let enterprise = async {
        until("a session is being created", async || {
            let calls = it.account.requests();
            calls
                .iter()
                .any(|it| it.method == "POST" && it.path == SESSIONS)
        })
        .await;
        ada.post(CHECKOUT, json!({ "plan": "enterprise" })).await
    };
    let (pro, enterprise) = tokio::join!(pro, enterprise);
    pro.assert_status(200);
    enterprise.assert_status(200);
    let sessions = it.account.objects("checkout.session");
    let open: Vec<_> = sessions
        .iter()
        .filter(|it| it["status"] == "open")
        .map(|it| &it["url"])
        .collect();
    assert_eq!(open, [&enterprise.body["url"]], "{sessions:?}");
    it.settle().await;
}

#[tokio::test]
async fn a_webhook_and_the_return_of_the_buyer_at_once_store_one_subscription() {
    let it = billing_app("return").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    let returns = join_all((0..5).map(|_| it.come_back(&session)));
    tokio::join!(returns, it.settle());
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(it.notices().await, ["receipt"]);
    assert_eq!(it.app.audited("subscription_changed").await, 1);
}

/// The service with the clock of other processes, which send it no webhook.
async fn real_time(name: &str) -> StripeApp {
    let it = crate::kit::stripe::stripe_app_at(name, &PRICES, Clock::system()).await;
    it.account.seed(&catalog());
    it
}

async fn kill_when(server: Server, is_time: impl AsyncFn() -> bool) {
    for _ in 0..600 {
        if is_time().await {
            drop(server);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the time to kill does not come: {}", server.written());
}

fn buy_from(server: &Server, session: &Session) {
    let url = server.root.join(CHECKOUT).expect("it is a path");
    let request = reqwest::Client::new()
        .request(Method::POST, url)
        .bearer_auth(session.access())
        .json(&json!({ "plan": "pro" }));
    tokio::spawn(request.send());
}

#[tokio::test]
async fn a_process_killed_between_two_steps_of_a_checkout_leaves_one_customer_and_one_subscription()
{
    for (name, path, kind) in [
        ("customer", CUSTOMERS, "customer"),
        ("session", SESSIONS, "checkout.session"),
    ] {
        let it = real_time(&format!("kill{name}")).await;
        let ada = it.app.sign_in("ada").await;
        // It is made, and the process dies before it can be stored.
        it.account
            .fault(fault("POST", path, 1, FaultAction::DelayAnswer(60_000)));
        let server = Server::start(&it.app.settings, &["serve", "--no-worker"]).await;
        buy_from(&server, &ada);
        kill_when(server, async || !it.account.objects(kind).is_empty()).await;
        assert_eq!(
            it.count("checkouts WHERE stripe_session_id IS NOT NULL")
                .await,
            0
        );
        it.account.clear_faults();
        let restarted = it.app.another_replica().await;
        let answer = restarted
            .call(
                Method::POST,
                CHECKOUT,
                Some(ada.access()),
                Some(json!({ "plan": "pro" })),
            )
            .await;
        answer.assert_status(200);
        assert_eq!(it.account.objects("customer").len(), 1, "{name}");
        assert_eq!(it.account.objects("checkout.session").len(), 1, "{name}");
        let session = it.newest("checkout.session");
        it.account
            .pay_checkout(&session, Outcome::Paid)
            .expect("it is paid");
        assert!(it.come_back(&session).await.contains("Your plan is active"));
        assert_eq!(it.statuses().await, ["active"]);
        it.settle().await;
    }
}

#[tokio::test]
async fn a_process_killed_while_it_reads_stripe_leaves_the_job_to_another() {
    let it = real_time("killjob").await;
    let ada = it.app.sign_in("ada").await;
    let session = it.start(&ada).await;
    let url = it.app.replica.root.join(WEBHOOK).expect("it is a path");
    it.account
        .add_endpoint(url.as_str(), "whsec_test", Some(API_VERSION), &["*"]);
    it.account.fault(fault(
        "GET",
        "/v1/invoices",
        1,
        FaultAction::DelayAnswer(60_000),
    ));
    it.account.clear_requests();
    it.account
        .pay_checkout(&session, Outcome::Paid)
        .expect("it is paid");
    it.account.delivered().await;
    let worker = Server::spawn(&it.app.settings, &["worker"]);
    let reads = || {
        it.account
            .requests()
            .iter()
            .any(|call| call.path == "/v1/invoices")
    };
    kill_when(worker, async || reads()).await;
    assert_eq!(it.statuses().await, Vec::<String>::new());
    assert!(it.count("stripe_events WHERE processed_at IS NULL").await > 0);
    it.account.clear_faults();
    // Its lock expires after hours; another worker takes the job over then.
    sqlx::query(
        "UPDATE graphile_worker._private_jobs SET locked_at = NULL, locked_by = NULL, run_at = now()",
    )
    .execute(&it.app.owner_db)
    .await
    .expect("they are unlocked");
    sqlx::query(
        "UPDATE graphile_worker._private_job_queues SET locked_at = NULL, locked_by = NULL",
    )
    .execute(&it.app.owner_db)
    .await
    .expect("they are unlocked");
    it.settle().await;
    assert_eq!(it.statuses().await, ["active"]);
    assert_eq!(it.notices().await, ["receipt"]);
    assert_eq!(it.account.objects("subscription").len(), 1);
    assert_eq!(it.count("invoices").await, 1);
}
