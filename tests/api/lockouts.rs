//! Lockouts of sign-in as the CLI lists and clears them, and networks that are exempt from limits by client.

use std::net::IpAddr;

use groundwork::auth::{self, LockedOut, Lockout};
use groundwork_dev::Redis;
use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestApp};
use crate::process::{run, stderr, stdout};

const LOGIN: &str = "/api/v1/auth/login";
const WRONG: &str = "wrong-wrong-wrong";
const PROXIED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");
const FAILURES: [(&str, &str); 3] = [
    ("LIMIT_FAILURES_CLIENT", "5/15m"),
    ("LIMIT_FAILURES_ACCOUNT", "5/15m"),
    PROXIED,
];

/// The Redis is of the test's own, since all tests have the same fixed time.
async fn start(settings: &[(&str, &str)]) -> (TestApp, Redis) {
    let redis = Redis::throw_away().await.expect("a Redis starts");
    let url = redis.url();
    let settings = [&FAILURES[..], settings, &[("REDIS_URL", url.as_str())]].concat();
    (TestApp::with(&settings).await, redis)
}

impl TestApp {
    async fn sign_in_from(&self, client: &str, email: &str, password: &str) -> Answer {
        let request = self
            .replica
            .request(Method::POST, LOGIN)
            .header("x-forwarded-for", client)
            .json(&json!({ "email": email, "password": password }));
        self.replica.send(&Method::POST, LOGIN, request).await
    }

    async fn lockouts(&self) -> Vec<Lockout> {
        auth::list_lockouts(&self.state).await.expect("a list")
    }

    async fn locked_out(&self) -> Vec<LockedOut> {
        let lockouts = self.lockouts().await.into_iter();
        lockouts.map(|lockout| lockout.who).collect()
    }
}

fn client(addr: &str) -> IpAddr {
    addr.parse().expect("an address")
}

#[tokio::test]
async fn an_account_that_is_locked_out_is_listed_and_cleared() {
    let (app, _redis) = start(&[]).await;
    let email = app.sign_up("ada").await;
    assert_eq!(app.locked_out().await, []);
    app.hammer(&email).await;
    app.hammer("nobody@example.com").await;
    app.run_jobs().await;

    let lockouts = app.lockouts().await;
    let address: email_transport::EmailAddress = email.clone().try_into().expect("an address");
    let until = app.clock.now() + chrono::TimeDelta::minutes(15);
    let who = LockedOut::Account(address.clone());
    assert_eq!(lockouts, [Lockout { who, until }]);
    let refused = app.sign_in_from("203.0.113.7", &email, PASSWORD).await;
    refused.assert_problem(429, "too_many_attempts");

    auth::clear_account_lockout(&app.state, &address)
        .await
        .expect("it is cleared");
    assert_eq!(app.locked_out().await, []);
    assert_eq!(app.audited("sign_in_unlocked").await, 1);
    app.sign_in_from("203.0.113.7", &email, PASSWORD)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_known_client_that_is_locked_out_is_listed_and_cleared_with_its_account() {
    let (app, _redis) = start(&[]).await;
    let email = app.sign_up("ada").await;
    let home = "203.0.113.7";
    app.sign_in_from(home, &email, PASSWORD)
        .await
        .assert_status(200);
    for _ in 0..5 {
        app.sign_in_from(home, &email, WRONG)
            .await
            .assert_status(401);
    }
    app.run_jobs().await;
    let address: email_transport::EmailAddress = email.clone().try_into().expect("an address");
    let who = LockedOut::KnownClient(address.clone(), client(home));
    assert_eq!(app.locked_out().await, [who]);

    auth::clear_account_lockout(&app.state, &address)
        .await
        .expect("it is cleared");
    assert_eq!(app.locked_out().await, []);
    app.sign_in_from(home, &email, PASSWORD)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn a_client_that_is_locked_out_is_listed_and_cleared() {
    let (app, _redis) = start(&[]).await;
    let office = "2001:db8:1:2::7";
    for number in 0..5 {
        let email = format!("nobody{number}@example.com");
        app.sign_in_from(office, &email, WRONG)
            .await
            .assert_status(401);
    }
    let network = client("2001:db8:1:2::");
    assert_eq!(app.locked_out().await, [LockedOut::Client(network)]);
    auth::clear_client_lockout(&app.state, client("2001:db8:1:2::9"))
        .await
        .expect("it is cleared");
    assert_eq!(app.locked_out().await, []);
    assert_eq!(app.audited("sign_in_unlocked").await, 1);
    app.sign_in_from(office, "nobody@example.com", WRONG)
        .await
        .assert_status(401);
}

#[tokio::test]
async fn a_lockout_of_reauthentication_is_audited_listed_and_cleared_with_its_account() {
    let (app, _redis) = start(&[]).await;
    let ada = app.sign_in("ada").await;
    let guess = json!({ "current_password": WRONG, "new_password": "another long password" });
    for _ in 0..5 {
        let answer = ada.post("/api/v1/users/me/password", guess.clone()).await;
        answer.assert_status(422);
    }
    assert_eq!(app.audited("sign_in_locked").await, 1);
    let address = "ada@example.com".to_owned();
    let address: email_transport::EmailAddress = address.try_into().expect("an address");
    let locked_out = app.locked_out().await;
    assert!(
        matches!(&locked_out[..], [LockedOut::Reauthentication(_, who)] if *who == address),
        "{locked_out:?}"
    );
    auth::clear_account_lockout(&app.state, &address)
        .await
        .expect("it is cleared");
    assert_eq!(app.locked_out().await, []);
}

#[tokio::test]
async fn a_lockout_that_has_ended_is_not_listed() {
    let (app, _redis) = start(&[]).await;
    let email = app.sign_up("ada").await;
    app.hammer(&email).await;
    app.run_jobs().await;
    app.clock.advance(std::time::Duration::from_mins(15));
    assert_eq!(app.locked_out().await, []);
}

#[tokio::test]
async fn lockouts_of_processes_without_redis_are_listed_by_the_audit_log_and_not_cleared() {
    let app = TestApp::with(&FAILURES).await;
    let email = app.sign_up("ada").await;
    app.hammer(&email).await;
    app.run_jobs().await;
    let address: email_transport::EmailAddress = email.try_into().expect("an address");
    let who = LockedOut::Account(address.clone());
    assert_eq!(app.locked_out().await, [who]);
    let refused = auth::clear_account_lockout(&app.state, &address).await;
    let refused = refused.expect_err("it is refused");
    let refused = refused.downcast_ref::<auth::CommandError>();
    assert_eq!(refused, Some(&auth::CommandError::CountedPerProcess));
    assert_eq!(app.audited("sign_in_unlocked").await, 0);
}

#[tokio::test]
async fn the_commands_list_and_clear_with_an_exit_code_for_each_refusal() {
    let (app, _redis) = start(&[]).await;
    let email = app.sign_up("ada").await;
    let lockouts = async |args: &[&str]| {
        let args = [&["users", "lockouts"], args].concat();
        let output = run(&app.settings, &args).await;
        (output.status.code(), stdout(&output) + &stderr(&output))
    };
    assert_eq!(lockouts(&["list"]).await, (Some(0), String::new()));
    let cleared = lockouts(&["clear", "--email", &email]).await;
    assert_eq!(cleared, (Some(0), String::new()));
    let cleared = lockouts(&["clear", "--client", "203.0.113.7"]).await;
    assert_eq!(cleared, (Some(0), String::new()));
    let (code, reported) = lockouts(&["clear", "--email", "nobody@example.com"]).await;
    assert!(
        code == Some(5) && reported.contains("no account"),
        "{reported}"
    );
    let (code, reported) = lockouts(&["clear"]).await;
    assert!(
        code == Some(2) && reported.contains("--client"),
        "{reported}"
    );
    assert_eq!(app.audited("sign_in_unlocked").await, 2);
}

#[tokio::test]
async fn an_exempt_office_is_limited_by_account_and_not_by_client() {
    let settings = [
        ("SIGN_IN_LIMIT_EXEMPT", "203.0.113.0/28"),
        ("LIMIT_AUTH", "10/1m"),
    ];
    let app = TestApp::with(&[&FAILURES[..], &settings].concat()).await;
    let (office, home) = ("203.0.113.7", "203.0.113.16");
    let email = app.sign_up("ada").await;
    for number in 0..20 {
        let somebody = format!("somebody{number}@example.com");
        let answer = app.sign_in_from(office, &somebody, WRONG).await;
        answer.assert_status(401);
        assert!(!answer.headers.contains_key("ratelimit"));
    }
    for _ in 0..5 {
        app.sign_in_from(office, &email, WRONG)
            .await
            .assert_status(401);
    }
    let refused = app.sign_in_from(office, &email, PASSWORD).await;
    refused.assert_problem(429, "too_many_attempts");

    for number in 0..5 {
        let somebody = format!("anybody{number}@example.com");
        app.sign_in_from(home, &somebody, WRONG)
            .await
            .assert_status(401);
    }
    let refused = app.sign_in_from(home, "anybody@example.com", WRONG).await;
    refused.assert_problem(429, "too_many_attempts");
    for _ in 0..4 {
        app.sign_in_from(home, "anybody@example.com", WRONG).await;
    }
    let refused = app.sign_in_from(home, "anybody@example.com", WRONG).await;
    refused.assert_problem(429, "rate_limited");
    app.run_jobs().await;
}
