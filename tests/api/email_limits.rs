//! How many emails strangers can cause, and what the owner of an address still gets.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, PASSWORD, TestApp};

const PROXIED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");
const REGISTER: &str = "/api/v1/auth/register";
const RESEND: &str = "/api/v1/auth/resend-verification";
const FORGOT: &str = "/api/v1/auth/forgot-password";
const MY_EMAIL: &str = "/api/v1/users/me/email";
const VICTIM: &str = "victim@example.com";

/// The defaults of the limits that this is about.
const LIMITS: [(&str, &str); 7] = [
    PROXIED,
    ("LIMIT_RESET", "3/1h"),
    ("LIMIT_RESEND", "3/1h"),
    ("LIMIT_EMAIL", "5/1h"),
    ("LIMIT_NOTICE", "20/1h"),
    ("LIMIT_REAUTHENTICATION", "20/1h"),
    ("LIMIT_EMAIL_CHANGE", "5/1h"),
];

/// A request of one of many clients.
async fn from_client(app: &TestApp, client: usize, path: &str, body: Value) -> Answer {
    let request = app.replica.request(Method::POST, path);
    let request = request
        .header("x-forwarded-for", format!("203.0.113.{client}"))
        .json(&body);
    app.replica.send(&Method::POST, path, request).await
}

fn account(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

#[tokio::test]
async fn a_stranger_at_many_clients_causes_few_emails_to_one_address() {
    let app = TestApp::with(&LIMITS).await;
    for client in 1..=12 {
        let answer = from_client(&app, client, REGISTER, account(VICTIM)).await;
        answer.assert_status(202);
        app.run_jobs().await;
    }
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 5);
    // Nor by the other routes that name an address.
    for client in 1..=6 {
        let email = json!({ "email": VICTIM });
        let answer = from_client(&app, client, RESEND, email).await;
        answer.assert_status(202);
        app.run_jobs().await;
    }
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 5);
    app.clock.advance(Duration::from_hours(1));
    from_client(&app, 1, REGISTER, account(VICTIM))
        .await
        .assert_status(202);
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 6);
}

#[tokio::test]
async fn a_limit_does_not_reveal_accounts_and_they_get_few_emails_too() {
    let app = TestApp::with(&LIMITS).await;
    app.sign_up("victim").await;
    app.inbox.clear();
    let mut answers = Vec::new();
    for client in 1..=12 {
        for email in [VICTIM, "unknown@example.com"] {
            let answer = from_client(&app, client, REGISTER, account(email)).await;
            answers.push((answer.status, answer.bytes));
            app.run_jobs().await;
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    // One of the five was the verification.
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 4);
    assert_eq!(app.inbox.emails_to("unknown@example.com").len(), 5);
}

#[tokio::test]
async fn spellings_of_one_mailbox_have_one_limit() {
    let app = TestApp::with(&LIMITS).await;
    let spellings = [
        "victim@example.com",
        "Victim@Example.com",
        "victim+1@example.com",
        "victim+shop@example.com",
        "VICTIM+a+b@EXAMPLE.COM",
        "victim+6@example.com",
        "victim+7@example.com",
    ];
    for (client, email) in spellings.into_iter().enumerate() {
        let answer = from_client(&app, client, REGISTER, account(email)).await;
        answer.assert_status(202);
        app.run_jobs().await;
    }
    assert_eq!(app.inbox.messages().len(), 5);
    // A name that is not ASCII is no address here; its ASCII form counts in any case of letters.
    let idn = "victim@b\u{fc}cher.example";
    let answer = from_client(&app, 1, REGISTER, account(idn)).await;
    answer.assert_field("email");
    for client in 1..=7 {
        let domain = ["xn--bcher-kva.example", "XN--BCHER-KVA.Example"][client % 2];
        let email = format!("victim@{domain}");
        from_client(&app, client, REGISTER, account(&email))
            .await
            .assert_status(202);
        app.run_jobs().await;
    }
    assert_eq!(app.inbox.emails_to("victim@xn--bcher-kva.example").len(), 5);
}

#[tokio::test]
async fn the_owner_of_a_flooded_address_gets_202_and_has_a_link_that_works() {
    let app = TestApp::with(&LIMITS).await;
    app.sign_up("victim").await;
    for client in 1..=12 {
        // Also once every limit of open emails is spent.
        from_client(&app, client, REGISTER, account(VICTIM)).await;
        let answer = from_client(&app, client, FORGOT, json!({ "email": VICTIM })).await;
        answer.assert_status(202);
        app.run_jobs().await;
    }
    let resets = app.inbox.emails_to(VICTIM);
    let resets: Vec<_> = resets
        .iter()
        .filter(|one| one.subject.contains("new password"))
        .collect();
    assert_eq!(resets.len(), 3);
    let owner = from_client(&app, 99, FORGOT, json!({ "email": "Victim@Example.com" })).await;
    owner.assert_status(202);
    assert!(owner.headers.get("retry-after").is_none());
    let body = json!({ "token": resets[0].token(), "password": "staple battery horse correct" });
    let answer = from_client(&app, 99, "/api/v1/auth/reset-password", body).await;
    answer.assert_status(204);
    app.run_jobs().await;
    // What happened is told, however many emails strangers have caused.
    let newest = app.inbox.emails_to(VICTIM);
    assert!(
        newest[0].subject.contains("was changed"),
        "{}",
        newest[0].subject
    );
}

#[tokio::test]
async fn a_user_causes_few_emails_to_strangers() {
    let app = TestApp::with(&LIMITS).await;
    let ada = app.sign_in("ada").await;
    app.inbox.clear();
    let mut refused = 0;
    for number in 0..90 {
        let email = format!("stranger{number}@example.com");
        let answer = ada.post(MY_EMAIL, account(&email)).await;
        match answer.status.as_u16() {
            202 => {}
            429 => {
                answer.assert_problem(429, "rate_limited");
                refused += 1;
            }
            _ => answer.assert_status(202),
        }
    }
    app.run_jobs().await;
    assert_eq!(refused, 85);
    let messages = app.inbox.messages();
    let strangers = messages.iter().filter(|one| !one.is_to("ada@example.com"));
    assert_eq!(strangers.count(), 5);
}

#[tokio::test]
async fn users_who_name_one_stranger_cause_few_emails_to_it() {
    let app = TestApp::with(&LIMITS).await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let session = app.sign_in(name).await;
        session
            .post(MY_EMAIL, account(VICTIM))
            .await
            .assert_status(202);
        app.run_jobs().await;
    }
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 5);
}

#[tokio::test]
async fn passwords_that_are_asked_for_again_are_limited_by_user_also_when_they_are_right() {
    let app = TestApp::with(&[("LIMIT_REAUTHENTICATION", "4/1h")]).await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let hashes = app.state.hasher.work();
    let same = json!({ "current_password": PASSWORD, "new_password": "ada@example.com" });
    for (path, body) in [
        ("/api/v1/users/me/password", same),
        (MY_EMAIL, account("new@example.com")),
        ("/api/v1/auth/mfa/totp", json!({ "password": PASSWORD })),
        ("/api/v1/auth/mfa/totp", json!({ "password": PASSWORD })),
    ] {
        let answer = ada.post(path, body).await;
        assert_ne!(answer.status, 429, "{path}");
    }
    let spent = app.state.hasher.work() - hashes;
    let key = json!({ "name": "ci", "scopes": ["users:read"], "password": PASSWORD });
    for (path, body) in [
        ("/api/v1/auth/mfa/totp", json!({ "password": PASSWORD })),
        (MY_EMAIL, account("other@example.com")),
        ("/api/v1/api-keys", key),
    ] {
        let answer = ada.post(path, body).await;
        answer.assert_problem(429, "rate_limited");
    }
    assert_eq!(
        app.state.hasher.work() - hashes,
        spent,
        "a refusal costs no hash"
    );
    let answer = grace
        .post("/api/v1/auth/mfa/totp", json!({ "password": PASSWORD }))
        .await;
    answer.assert_status(200);
    app.clock.advance(Duration::from_hours(1));
    let ada = app.log_in("ada@example.com").await;
    let answer = ada
        .post("/api/v1/auth/mfa/totp", json!({ "password": PASSWORD }))
        .await;
    answer.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_reset_does_not_wait_behind_a_flood_of_other_emails() {
    let app = TestApp::with(&[("WORKER_CONCURRENCY", "1")]).await;
    app.sign_up("owner").await;
    app.inbox.clear();
    for number in 0..20 {
        app.register(&format!("flood{number}@example.com")).await;
    }
    let email = json!({ "email": "owner@example.com" });
    app.post(FORGOT, email).await.assert_status(202);
    app.run_jobs().await;
    let messages = app.inbox.messages();
    assert_eq!(messages.len(), 21);
    let first = messages.last().expect("there are some");
    assert!(first.is_to("owner@example.com"), "{}", first.subject);
}

#[tokio::test]
async fn an_email_that_is_tried_again_counts_once() {
    let app = TestApp::with(&[("LIMIT_EMAIL", "1/1h")]).await;
    app.inbox.refuse_next(3, 451);
    app.register(VICTIM).await;
    for _ in 0..4 {
        app.run_jobs().await;
        app.hurry_jobs().await;
    }
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 1);
}

#[tokio::test]
async fn an_email_that_is_left_out_leaves_the_link_before_it_good() {
    let app = TestApp::with(&[("LIMIT_EMAIL", "1/1h")]).await;
    app.register(VICTIM).await;
    let token = app.email_to(VICTIM).await.token();
    let email = json!({ "email": VICTIM });
    app.post(RESEND, email).await.assert_status(202);
    app.run_jobs().await;
    assert_eq!(app.inbox.emails_to(VICTIM).len(), 1);
    let answer = app
        .post("/api/v1/auth/verify-email", json!({ "token": token }))
        .await;
    answer.assert_status(204);
}
