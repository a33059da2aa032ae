//! Passwords that an account may not have: its own words, and what is known from breaches.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use groundwork_dev::{Mood, RangeServer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, TestApp};

const REGISTER: &str = "/api/v1/auth/register";
const RESET: &str = "/api/v1/auth/reset-password";
const MY_PASSWORD: &str = "/api/v1/users/me/password";

/// A password without any fault of its own.
const LEAKED: &str = "a password that has leaked";

fn sha1(password: &str) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    hash.as_ref()
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

fn account(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

fn change(new: &str) -> Value {
    json!({ "current_password": PASSWORD, "new_password": new })
}

/// Holds that this field was refused for this reason, and answers what a client sees of it.
#[track_caller]
fn assert_refused(answer: &Answer, field: &str, code: &str) -> Value {
    answer.assert_field(field);
    assert_eq!(answer.body["errors"][0]["code"], code, "{}", answer.body);
    let mut body = answer.body.clone();
    body["request_id"].take();
    body
}

/// The service with a list of breaches, and the list.
async fn with_breaches(overrides: &[(&str, &str)]) -> (TestApp, RangeServer) {
    let breaches = RangeServer::start().await;
    breaches.leak(&sha1(LEAKED));
    let url = breaches.url();
    let settings = [&[("BREACH_CHECK_URL", url.as_str())], overrides].concat();
    (TestApp::with(&settings).await, breaches)
}

#[tokio::test]
async fn the_address_and_the_products_name_are_no_passwords() {
    let app = TestApp::with(&[("PRODUCT_NAME", "Acme Rockets")]).await;
    let email = "countess.lovelace@example.com";
    for password in [
        email,
        "Countess.Lovelace@Example.com",
        "Lovelace1815!",
        "acmerockets",
        "Acme Rockets 2026",
    ] {
        let answer = app.post(REGISTER, account(email, password)).await;
        assert_refused(&answer, "password", "too_guessable");
    }
    let answer = app
        .post(REGISTER, account(email, "the lovelace of my machines"))
        .await;
    answer.assert_status(202);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_new_password_is_not_guessable_either() {
    let app = TestApp::with(&[("PRODUCT_NAME", "Acme Rockets")]).await;
    let ada = app.sign_in("countess").await;
    for guess in ["countess@example.com", "Countess-1815", "acmerockets1"] {
        let answer = ada.post(MY_PASSWORD, change(guess)).await;
        assert_refused(&answer, "new_password", "too_guessable");
    }
    app.post(
        "/api/v1/auth/forgot-password",
        json!({ "email": "countess@example.com" }),
    )
    .await
    .assert_status(202);
    let token = app.email_to("countess@example.com").await.token();
    let reset = |password: &str| json!({ "token": token, "password": password });
    let answer = app.post(RESET, reset("Countess-1815")).await;
    assert_refused(&answer, "password", "too_guessable");
    // The link is still good for a better one.
    app.post(RESET, reset("engines weave algebra"))
        .await
        .assert_status(204);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_rejected_password_does_not_reveal_whether_an_account_exists() {
    let (app, _breaches) = with_breaches(&[]).await;
    app.sign_up("countess").await;
    app.inbox.clear();
    for password in ["Countess-1815", LEAKED] {
        let code = if password == LEAKED {
            "breached"
        } else {
            "too_guessable"
        };
        let known = app
            .post(REGISTER, account("countess@example.com", password))
            .await;
        let unknown = app
            .post(REGISTER, account("countess@example.org", password))
            .await;
        assert_eq!(
            assert_refused(&known, "password", code),
            assert_refused(&unknown, "password", code)
        );
    }
    app.run_jobs().await;
    assert!(app.inbox.messages().is_empty());
}

#[tokio::test]
async fn a_password_that_is_known_from_a_breach_is_refused_everywhere() {
    let (app, breaches) = with_breaches(&[]).await;
    let answer = app
        .post(REGISTER, account("grace@example.com", LEAKED))
        .await;
    assert_refused(&answer, "password", "breached");

    let ada = app.sign_in("ada").await;
    let answer = ada.post(MY_PASSWORD, change(LEAKED)).await;
    assert_refused(&answer, "new_password", "breached");

    app.post(
        "/api/v1/auth/forgot-password",
        json!({ "email": "ada@example.com" }),
    )
    .await
    .assert_status(202);
    let token = app.email_to("ada@example.com").await.token();
    let reset = json!({ "token": token, "password": LEAKED });
    let answer = app.post(RESET, reset).await;
    assert_refused(&answer, "password", "breached");
    assert_eq!(breaches.asked().len(), 4);
}

#[tokio::test]
async fn five_digits_leave_the_service_and_the_trace_goes_with_them() {
    let (app, breaches) = with_breaches(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = app
        .replica
        .request(Method::POST, REGISTER)
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .json(&account("ada@example.com", PASSWORD));
    app.replica
        .send(&Method::POST, REGISTER, request)
        .await
        .assert_status(202);
    app.run_jobs().await;

    let asked = breaches.asked();
    assert_eq!(asked.len(), 1);
    let digits = sha1(PASSWORD);
    assert_eq!(asked[0].prefix, digits[..5]);
    assert_eq!(asked[0].headers["add-padding"], "true");
    let traceparent = asked[0].headers["traceparent"].to_str().expect("text");
    assert!(traceparent.starts_with(&format!("00-{trace}-")));
    assert!(!traceparent.contains("00f067aa0ba902b7"), "{traceparent}");
    let all = format!("{:?}", asked[0].headers);
    assert!(!all.to_uppercase().contains(&digits[5..]), "{all}");
    assert!(!all.contains("ada@example.com"), "{all}");
}

#[tokio::test]
async fn a_list_that_fails_lets_passwords_pass_in_time() {
    let (app, breaches) = with_breaches(&[("BREACH_CHECK_TIMEOUT", "300ms")]).await;
    for (number, mood) in faults().into_iter().enumerate() {
        breaches.be(mood);
        let began = Instant::now();
        let email = format!("ada{number}@example.com");
        let answer = app.post(REGISTER, account(&email, LEAKED)).await;
        answer.assert_status(202);
        assert!(began.elapsed() < Duration::from_secs(15), "{mood:?}");
    }
    assert_eq!(breaches.asked().len(), faults().len());
    app.run_jobs().await;
}

#[tokio::test]
async fn a_list_that_fails_stops_passwords_where_it_is_to() {
    let settings = [
        ("BREACH_CHECK_TIMEOUT", "300ms"),
        ("BREACH_CHECK_FAIL_OPEN", "false"),
    ];
    let (app, breaches) = with_breaches(&settings).await;
    let ada = app.sign_in("ada").await;
    for mood in faults() {
        breaches.be(mood);
        for email in ["ada@example.com", "nobody@example.com"] {
            let answer = app.post(REGISTER, account(email, PASSWORD)).await;
            answer.assert_problem(503, "unavailable");
        }
        ada.post(MY_PASSWORD, change("engines weave algebra"))
            .await
            .assert_problem(503, "unavailable");
    }
    // What needs no new password goes on, and so does the rest once the list is back.
    app.log_in("ada@example.com").await;
    breaches.be(Mood::Honest);
    ada.post(MY_PASSWORD, change("engines weave algebra"))
        .await
        .assert_status(204);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_list_that_is_away_lets_passwords_pass() {
    let (app, breaches) = with_breaches(&[]).await;
    drop(breaches);
    app.register("ada@example.com").await;
    app.run_jobs().await;
}

fn faults() -> [Mood; 5] {
    [
        Mood::Slow(Duration::from_secs(20)),
        Mood::Refusing(429),
        Mood::Broken,
        Mood::Huge,
        Mood::Pointing,
    ]
}
