//! Signing in with a second factor.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{LOGIN, LOGIN_MFA, STEP, count, try_code_at};
use crate::harness::{PASSWORD, Session, TestApp};

#[tokio::test]
async fn a_right_password_asks_and_a_code_begins_the_session() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let body = json!({ "email": ada.email, "password": PASSWORD });
    let asked = app.post(LOGIN, body).await;
    asked.assert_status(202);
    let names: Vec<_> = asked.body.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["expires_in", "methods", "mfa_token"]);
    assert_eq!(asked.body["expires_in"], 300);
    assert_eq!(asked.headers["cache-control"], "no-store");
    let token = asked.body["mfa_token"].as_str().expect("a token");
    let answer = app.try_code(token, &ada.app.code(&app)).await;
    answer.assert_status(200);
    let session = Session {
        replica: app.replica.clone(),
        tokens: answer.body,
    };
    assert!(session.is_signed_in().await);
    // Going on with a session never asks.
    let next = app.replica.refresh(session.refresh_token()).await;
    next.assert_status(200);
    // The token was for one session.
    app.clock.advance(STEP);
    let again = app.try_code(token, &ada.app.code(&app)).await;
    again.assert_problem(401, "invalid_mfa_token");
    assert_eq!(app.audited("second_factor_asked").await, 1);
    assert_eq!(app.audited("signed_in").await, 2);
}

#[tokio::test]
async fn a_wrong_password_gets_the_same_reply_for_every_account() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let body = json!({ "email": ada.email, "password": "not the password" });
    let answer = app.post(LOGIN, body).await;
    answer.assert_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_code_works_once_whichever_replica_is_asked() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let code = ada.app.code(&app);
    let tokens = [app.ask(&ada.email).await, app.ask(&ada.email).await];
    app.try_code(&tokens[0], &code).await.assert_status(200);
    for replica in [&app.replica, &other] {
        let answer = try_code_at(replica, &tokens[1], &code).await;
        answer.assert_problem(401, "invalid_mfa_code");
    }
    // Nor does one of before it, though its time is not over.
    let before = ada.app.code_in(&app, -1);
    let answer = app.try_code(&tokens[1], &before).await;
    answer.assert_problem(401, "invalid_mfa_code");
    let after = ada.app.code_in(&app, 1);
    app.try_code(&tokens[1], &after).await.assert_status(200);
    assert_eq!(app.audited("second_factor_failed").await, 3);
}

#[tokio::test]
async fn the_code_that_turned_the_factor_on_signs_nobody_in() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    let used = ada.app.code_in(&app, -1);
    let answer = app.try_code(&token, &used).await;
    answer.assert_problem(401, "invalid_mfa_code");
}

#[tokio::test]
async fn a_code_is_good_one_step_before_and_after_its_own() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    app.clock.advance(STEP * 10);
    for (steps, status) in [(-2, 401), (-1, 200), (2, 401), (1, 200)] {
        let token = app.ask(&ada.email).await;
        let code = ada.app.code_in(&app, steps);
        app.try_code(&token, &code).await.assert_status(status);
    }
}

#[tokio::test]
async fn of_twenty_with_one_code_one_signs_in() {
    let app = TestApp::with(&[("MFA_FAILURES_PER_HOUR", "100")]).await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let code = ada.app.code(&app);
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(app.ask(&ada.email).await);
    }
    let calls = tokens.iter().enumerate().map(|(n, token)| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        try_code_at(replica, token, &code)
    });
    let answers = join_all(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 401)), (1, 19));
    let lost = answers.iter().filter(|answer| answer.status == 401);
    lost.for_each(|answer| answer.assert_problem(401, "invalid_mfa_code"));
}

#[tokio::test]
async fn of_twenty_with_one_waiting_sign_in_one_signs_in() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    // Each with a proof of its own that is right.
    let calls = (0..20).map(|n| {
        let body = match n {
            0..10 => json!({ "mfa_token": token, "recovery_code": ada.recovery_codes[n] }),
            _ => json!({ "mfa_token": token, "code": ada.app.code(&app) }),
        };
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        replica.call(reqwest::Method::POST, LOGIN_MFA, None, Some(body))
    });
    let answers = join_all(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 401)), (1, 19));
    app.run_jobs().await;
    assert_eq!(app.audited("signed_in").await, 2);
}

#[tokio::test]
async fn of_twenty_with_one_recovery_code_one_signs_in() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(app.ask(&ada.email).await);
    }
    let calls = tokens.iter().enumerate().map(|(n, token)| {
        let body = json!({ "mfa_token": token, "recovery_code": ada.recovery_codes[0] });
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        replica.call(reqwest::Method::POST, LOGIN_MFA, None, Some(body))
    });
    let answers = join_all(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 401)), (1, 19));
    let message = app.email_to(&ada.email).await;
    assert_eq!(message.subject, "A recovery code for Groundwork was used");
    assert_eq!(app.audited("recovery_code_used").await, 1);
    let left = ada.session.get(super::MFA).await.body["recovery_codes_left"].clone();
    assert_eq!(left, 9);
}

#[tokio::test]
async fn a_waiting_sign_in_and_a_factor_are_of_one_account() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let grace = app.enrol("grace").await;
    let of_ada = app.ask(&ada.email).await;
    let code = grace.app.code(&app);
    let answer = app.try_code(&of_ada, &code).await;
    answer.assert_problem(401, "invalid_mfa_code");
    let answer = app.try_recovery(&of_ada, &grace.recovery_codes[0]).await;
    answer.assert_problem(401, "invalid_mfa_code");
    // And what was refused there is good where it belongs.
    let of_grace = app.ask(&grace.email).await;
    app.try_code(&of_grace, &code).await.assert_status(200);
}

#[tokio::test]
async fn a_sign_in_waits_for_five_minutes() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let tokens = [app.ask(&ada.email).await, app.ask(&ada.email).await];
    app.clock.advance(Duration::from_secs(299));
    let code = ada.app.code(&app);
    app.try_code(&tokens[0], &code).await.assert_status(200);
    app.clock.advance(Duration::from_secs(1));
    let code = ada.app.code_in(&app, 1);
    let late = app.try_code(&tokens[1], &code).await;
    late.assert_problem(401, "invalid_mfa_token");
}

#[tokio::test]
async fn no_token_passes_for_another_kind() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let waiting = app.ask(&ada.email).await;
    let as_access = Session {
        replica: app.replica.clone(),
        tokens: json!({ "access_token": waiting }),
    };
    let answer = as_access.get("/api/v1/users/me").await;
    answer.assert_problem(401, "unauthenticated");
    let answer = app.replica.refresh(&waiting).await;
    answer.assert_problem(401, "invalid_refresh_token");
    for path in ["verify-email", "reset-password"] {
        let mut body = json!({ "token": waiting });
        if path == "reset-password" {
            body["password"] = json!("a password of another kind");
        }
        let answer = app.post(&format!("/api/v1/auth/{path}"), body).await;
        answer.assert_problem(422, "invalid_token");
    }
    let code = ada.app.code(&app);
    for other in [ada.session.refresh_token(), ada.session.access()] {
        let answer = app.try_code(other, &code).await;
        answer.assert_field("mfa_token");
    }
    app.try_code(&waiting, &code).await.assert_status(200);
}

#[tokio::test]
async fn a_new_password_leaves_the_factor_on_and_ends_what_waits() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let waiting = app.ask(&ada.email).await;
    let forgot = json!({ "email": ada.email });
    app.post("/api/v1/auth/forgot-password", forgot)
        .await
        .assert_status(202);
    let token = app
        .email_to(&ada.email)
        .await
        .token()
        .expect("it has a link");
    let new = "a password of another kind";
    let reset = json!({ "token": token, "password": new });
    app.post("/api/v1/auth/reset-password", reset)
        .await
        .assert_status(204);
    app.run_jobs().await;

    let answer = app.try_code(&waiting, &ada.app.code(&app)).await;
    answer.assert_problem(401, "invalid_mfa_token");
    let body = json!({ "email": ada.email, "password": new });
    let asked = app.post(LOGIN, body).await;
    asked.assert_status(202);
    let token = asked.body["mfa_token"].as_str().expect("a token");
    app.try_code(token, &ada.app.code(&app))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn what_cannot_be_an_answer_names_the_field() {
    let app = TestApp::new().await;
    let token = "A".repeat(43);
    let recovery = "0".repeat(24);
    for (body, field) in [
        (json!({ "code": "123456" }), "mfa_token"),
        (json!({ "mfa_token": "x", "code": "123456" }), "mfa_token"),
        (json!({ "mfa_token": token }), "code"),
        (json!({ "mfa_token": token, "code": null }), "code"),
        (json!({ "mfa_token": token, "code": 123_456 }), "code"),
        (json!({ "mfa_token": token, "code": "12345" }), "code"),
        (json!({ "mfa_token": token, "code": "12345a" }), "code"),
        (
            json!({ "mfa_token": token, "recovery_code": "123456" }),
            "recovery_code",
        ),
        (
            json!({ "mfa_token": token, "code": "123456", "recovery_code": recovery }),
            "code",
        ),
        (
            json!({ "mfa_token": token, "code": "123456", "transport": "cookie" }),
            "transport",
        ),
    ] {
        let body: Value = body;
        app.post(LOGIN_MFA, body).await.assert_field(field);
    }
    let answer = app.try_code(&token, "123 456").await;
    answer.assert_problem(401, "invalid_mfa_token");
}
