//! Turning a second factor on and off, and making new recovery codes.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use url::Url;

use super::authenticator::{Authenticator, read};
use super::{CONFIRM, LOGIN, MFA, RECOVERY_CODES, STEP, TOTP, begin, codes, count};
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn an_authenticator_is_added_confirmed_and_reported_to_the_owner() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let status = ada.get(MFA).await;
    assert_eq!(
        status.body,
        json!({ "enabled": false, "enabled_at": null, "recovery_codes_left": 0 })
    );
    let authenticator = begin(&ada).await;
    assert_eq!(ada.get(MFA).await.body["enabled"], false);
    let body = json!({ "code": authenticator.code(&app) });
    let answer = ada.post(CONFIRM, body).await;
    answer.assert_status(200);
    let codes = codes(&answer);
    let distinct: std::collections::HashSet<_> = codes.iter().collect();
    assert_eq!((codes.len(), distinct.len()), (10, 10));
    assert_eq!(answer.headers["cache-control"], "no-store");

    let status = ada.get(MFA).await.body;
    assert_eq!(status["enabled"], true);
    assert_eq!(status["enabled_at"], json!(app.clock.now()));
    assert_eq!(status["recovery_codes_left"], 10);
    let message = app.email_to("ada@example.com").await;
    assert_eq!(
        message.subject,
        "Your account at Groundwork has a second factor"
    );
    for event in ["second_factor_begun", "second_factor_on"] {
        assert_eq!(app.audited(event).await, 1, "{event}");
    }
}

#[tokio::test]
async fn the_address_and_the_picture_say_the_same_as_the_secret() {
    let app = TestApp::with(&[("PRODUCT_NAME", "Smith & Sons")]).await;
    let ada = app.sign_in("ada").await;
    let answer = ada.post(TOTP, json!({ "password": PASSWORD })).await;
    let text = |field: &str| answer.body[field].as_str().expect("text").to_owned();
    let url: Url = text("otpauth_url").parse().expect("a URL");
    assert_eq!(url.path(), "/Smith%20%26%20Sons:ada%40example.com");
    let pairs: Vec<_> = url.query_pairs().collect();
    let wanted = [
        ("secret", text("secret")),
        ("issuer", "Smith & Sons".to_owned()),
        ("algorithm", "SHA1".to_owned()),
        ("digits", "6".to_owned()),
        ("period", "30".to_owned()),
    ];
    for ((name, value), (known, said)) in pairs.iter().zip(&wanted) {
        assert_eq!((name.as_ref(), value.as_ref()), (*known, said.as_str()));
    }
    assert_eq!(pairs.len(), wanted.len());
    assert_eq!(read(&text("qr_svg")), text("otpauth_url"));
}

#[tokio::test]
async fn beginning_takes_the_password_and_confirming_the_newest_secret_within_the_hour() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.post(TOTP, json!({ "password": "not the password" }))
        .await
        .assert_field("password");
    ada.post(TOTP, json!({})).await.assert_field("password");
    ada.post(CONFIRM, json!({ "code": "123456" }))
        .await
        .assert_problem(409, "conflict");

    let first = begin(&ada).await;
    let second = begin(&ada).await;
    let body = |from: &Authenticator| json!({ "code": from.code(&app) });
    ada.post(CONFIRM, body(&first)).await.assert_field("code");
    app.clock.advance(Duration::from_hours(1));
    let ada = app.log_in("ada@example.com").await;
    ada.post(CONFIRM, body(&second))
        .await
        .assert_problem(409, "conflict");
    assert_eq!(ada.get(MFA).await.body["enabled"], false);

    let third = begin(&ada).await;
    ada.post(CONFIRM, body(&third)).await.assert_status(200);
    app.run_jobs().await;
    for (path, body) in [
        (TOTP, json!({ "password": PASSWORD })),
        (CONFIRM, json!({ "code": third.code(&app) })),
    ] {
        ada.post(path, body).await.assert_problem(409, "conflict");
    }
    assert_eq!(app.audited("second_factor_failed").await, 1);
    assert_eq!(app.audited("reauthentication_failed").await, 1);
}

#[tokio::test]
async fn turning_it_on_ends_the_sessions_that_have_not_shown_it() {
    let app = TestApp::new().await;
    let email = app.sign_up("ada").await;
    let elsewhere = app.log_in(&email).await;
    let here = app.log_in(&email).await;
    let authenticator = begin(&here).await;
    let body = json!({ "code": authenticator.code(&app) });
    here.post(CONFIRM, body).await.assert_status(200);
    app.run_jobs().await;
    assert!(here.is_signed_in().await);
    assert!(!elsewhere.is_signed_in().await);
    let answer = app.replica.refresh(elsewhere.refresh_token()).await;
    answer.assert_problem(401, "invalid_refresh_token");
    app.replica
        .refresh(here.refresh_token())
        .await
        .assert_status(200);
}

#[tokio::test]
async fn of_twenty_who_confirm_one_gets_the_recovery_codes() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let authenticator = begin(&ada).await;
    let code = authenticator.code(&app);
    let calls = (0..20).map(|_| ada.post(CONFIRM, json!({ "code": code })));
    let answers = join_all(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 19));
    app.run_jobs().await;
    assert_eq!(ada.get(MFA).await.body["recovery_codes_left"], 10);
}

#[tokio::test]
async fn turning_it_off_takes_the_password_and_the_factor() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let code = || ada.app.code(&app);
    for (body, field) in [
        (
            json!({ "password": "not the password", "code": code() }),
            "password",
        ),
        (
            json!({ "password": PASSWORD, "code": ada.app.wrong_code(&app) }),
            "code",
        ),
        (
            json!({ "password": PASSWORD, "recovery_code": "0".repeat(24) }),
            "recovery_code",
        ),
        (json!({ "password": PASSWORD }), "code"),
        (json!({ "code": code() }), "password"),
        (
            json!({ "password": PASSWORD, "code": code(), "recovery_code": ada.recovery_codes[0] }),
            "code",
        ),
        (
            json!({ "password": PASSWORD, "code": code(), "force": true }),
            "force",
        ),
    ] {
        ada.session.remove(body).await.assert_field(field);
    }
    app.ask(&ada.email).await;

    let body = json!({ "password": PASSWORD, "code": code() });
    ada.session.remove(body.clone()).await.assert_status(204);
    let message = app.email_to(&ada.email).await;
    assert_eq!(
        message.subject,
        "The second factor for Groundwork was turned off"
    );
    let again = ada.session.remove(body).await;
    again.assert_problem(409, "conflict");
    let status = ada.session.get(MFA).await;
    assert_eq!(
        status.body,
        json!({ "enabled": false, "enabled_at": null, "recovery_codes_left": 0 })
    );
    app.log_in(&ada.email).await;
    assert_eq!(app.audited("second_factor_off").await, 1);
    assert_eq!(app.audited("second_factor_failed").await, 2);
}

#[tokio::test]
async fn a_sign_in_that_was_pending_while_it_was_disabled_starts_again() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    let body = json!({ "password": PASSWORD, "recovery_code": ada.recovery_codes[3] });
    ada.session.remove(body).await.assert_status(204);
    app.run_jobs().await;
    let answer = app.try_code(&token, &ada.app.code(&app)).await;
    answer.assert_problem(401, "invalid_mfa_token");
}

#[tokio::test]
async fn new_recovery_codes_replace_the_old_and_require_both_factors() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    for body in [
        json!({ "password": PASSWORD }),
        json!({ "password": PASSWORD, "code": ada.app.wrong_code(&app) }),
    ] {
        let answer = ada.session.post(RECOVERY_CODES, body).await;
        answer.assert_field("code");
    }
    let body = json!({ "password": PASSWORD, "code": ada.app.code(&app) });
    let answer = ada.session.post(RECOVERY_CODES, body).await;
    answer.assert_status(200);
    let new = codes(&answer);
    assert!(new.iter().all(|code| !ada.recovery_codes.contains(code)));
    assert_eq!(ada.session.get(MFA).await.body["recovery_codes_left"], 10);
    assert_eq!(app.audited("recovery_codes_renewed").await, 1);

    let token = app.ask(&ada.email).await;
    app.try_recovery(&token, &ada.recovery_codes[0])
        .await
        .assert_problem(401, "invalid_mfa_code");
    app.try_recovery(&token, &new[0]).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn who_is_not_signed_in_learns_and_changes_nothing() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    app.get(MFA).await.assert_problem(401, "unauthenticated");
    for path in [TOTP, CONFIRM, RECOVERY_CODES] {
        let body = json!({ "password": PASSWORD });
        app.post(path, body)
            .await
            .assert_problem(401, "unauthenticated");
    }
    // Somebody else's factor is no business of one's own.
    let grace = app.sign_in("grace").await;
    assert_eq!(grace.get(MFA).await.body["enabled"], false);
    let body = json!({ "password": PASSWORD, "code": ada.app.code(&app) });
    grace.remove(body).await.assert_problem(409, "conflict");
    assert_eq!(ada.session.get(MFA).await.body["enabled"], true);
}

#[tokio::test]
async fn until_it_is_confirmed_an_authenticator_asks_nobody() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    begin(&ada).await;
    app.clock.advance(STEP);
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    app.post(LOGIN, body).await.assert_status(200);
}
