//! What takes the password again takes the second factor as well, where there is one.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{RECOVERY_CODES, STEP};
use crate::harness::{Answer, PASSWORD, TestApp};

const MY_PASSWORD: &str = "/api/v1/users/me/password";
const MY_EMAIL: &str = "/api/v1/users/me/email";
const KEYS: &str = "/api/v1/api-keys";
const NEW: &str = "a password of another kind";

/// The routes that take the password again, each with a body that would do without a second factor.
fn routes(key: &str) -> [(String, Value); 4] {
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    let key_body = json!({ "name": "CI", "scopes": ["read"], "password": PASSWORD });
    [
        (
            MY_EMAIL.to_owned(),
            json!({ "email": "countess@example.com", "password": PASSWORD }),
        ),
        (KEYS.to_owned(), key_body),
        (
            format!("{KEYS}/{key}/rotate"),
            json!({ "password": PASSWORD, "overlap": 0 }),
        ),
        // Last, since the password is another then.
        (MY_PASSWORD.to_owned(), change),
    ]
}

fn and(body: &Value, field: &str, value: &str) -> Value {
    let mut body = body.clone();
    body[field] = value.into();
    body
}

#[track_caller]
fn assert_refused(answer: &Answer, field: &str, code: &str) {
    answer.assert_field(field);
    assert_eq!(answer.body["errors"][0]["code"], code, "{}", answer.body);
}

#[tokio::test]
async fn whatever_takes_the_password_takes_the_second_factor_too() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let key = ada.new_key(&["read"], 9).await.id;
    app.run_jobs().await;
    for (n, (path, body)) in routes(&key).into_iter().enumerate() {
        let post = async |body: Value| ada.session.post(&path, body).await;
        let code = ada.app.code(&app);
        assert_refused(&post(body.clone()).await, "code", "mfa_code_required");
        let wrong = and(&body, "code", &ada.app.wrong_code(&app));
        assert_refused(&post(wrong).await, "code", "wrong_code");
        let wrong = and(&body, "recovery_code", &"0".repeat(24));
        assert_refused(&post(wrong).await, "recovery_code", "wrong_code");
        let both = and(
            &and(&body, "code", &code),
            "recovery_code",
            &ada.recovery_codes[n],
        );
        assert_refused(&post(both).await, "code", "required");
        let misspelt = and(&body, "cod", &code);
        post(misspelt).await.assert_field("cod");
        post(and(&body, "code", "12345")).await.assert_field("code");
        // The password comes first: who does not know it learns nothing of a second factor.
        let field = if path == MY_PASSWORD {
            "current_password"
        } else {
            "password"
        };
        let stranger = and(&body, field, "not the password");
        assert_refused(&post(stranger).await, field, "wrong_password");

        let answer = post(and(&body, "code", &code)).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        app.run_jobs().await;
        app.clock.advance(STEP);
    }
    assert_eq!(app.audited("second_factor_failed").await, 8);
    let reported = app.email_to(&ada.email).await;
    assert_eq!(reported.subject, "Your password for Groundwork was changed");
}

#[tokio::test]
async fn a_recovery_code_is_accepted_and_reported_to_the_owner() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let key = ada.new_key(&["read"], 9).await.id;
    app.run_jobs().await;
    for (n, (path, body)) in routes(&key).into_iter().enumerate() {
        let body = and(&body, "recovery_code", &ada.recovery_codes[n]);
        let answer = ada.session.post(&path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
    }
    app.run_jobs().await;
    assert_eq!(app.audited("recovery_code_used").await, 5);
    let messages = app.inbox.emails_to(&ada.email);
    let reported = messages
        .iter()
        .filter(|message| message.subject == "A recovery code for Groundwork was used");
    assert_eq!(reported.count(), 5);
}

#[tokio::test]
async fn a_code_that_one_route_took_is_refused_by_all_others() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let key = ada.new_key(&["read"], 9).await.id;
    app.run_jobs().await;
    let code = ada.app.code(&app);
    let [(first, body), others @ ..] = routes(&key);
    let answer = ada.session.post(&first, and(&body, "code", &code)).await;
    answer.assert_status(202);
    for (path, body) in &others {
        let answer = ada.session.post(path, and(body, "code", &code)).await;
        assert_refused(&answer, "code", "wrong_code");
    }
    let body = json!({ "password": PASSWORD, "code": code });
    let answer = ada.session.post(RECOVERY_CODES, body).await;
    assert_refused(&answer, "code", "wrong_code");
    let token = app.ask(&ada.email).await;
    let answer = app.try_code(&token, &code).await;
    answer.assert_problem(401, "invalid_mfa_code");

    // And so is the recovery code that made the key.
    let (path, body) = &others[2];
    let used = and(body, "recovery_code", &ada.recovery_codes[9]);
    assert_refused(
        &ada.session.post(path, used).await,
        "recovery_code",
        "wrong_code",
    );
    app.run_jobs().await;
}

#[tokio::test]
async fn a_code_is_used_up_whatever_comes_of_the_request() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let code = ada.app.code(&app);
    let change =
        |new: &str| json!({ "current_password": PASSWORD, "new_password": new, "code": code });
    let guessable = ada
        .session
        .post(MY_PASSWORD, change("ada@example.com"))
        .await;
    assert_refused(&guessable, "new_password", "too_guessable");
    let again = ada.session.post(MY_PASSWORD, change(NEW)).await;
    assert_refused(&again, "code", "wrong_code");
}

#[tokio::test]
async fn of_twenty_with_one_code_on_two_replicas_one_gets_through() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.enrol("ada").await;
    let key = ada.new_key(&["read"], 9).await.id;
    app.run_jobs().await;
    let all = routes(&key);
    for (field, proof) in [
        ("code", ada.app.code(&app)),
        ("recovery_code", ada.recovery_codes[0].clone()),
    ] {
        // At two routes at once: to make a key, and to change the address.
        let calls = (0..20).map(|n| {
            let (path, body) = &all[n % 2];
            let replica = if n % 4 < 2 { &app.replica } else { &other };
            let body = Some(and(body, field, &proof));
            replica.call(Method::POST, path, Some(ada.session.access()), body)
        });
        let answers = join_all(calls).await;
        let through = answers.iter().filter(|answer| answer.status.is_success());
        assert_eq!(through.count(), 1, "{field}");
        for answer in answers.iter().filter(|it| !it.status.is_success()) {
            if answer.status == 422 {
                assert_refused(answer, field, "wrong_code");
            } else {
                // Nine wrong ones an hour are behind it by then.
                answer.assert_problem(429, "too_many_attempts");
            }
        }
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn wrong_codes_count_wherever_they_are_given() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let body = json!({ "email": "countess@example.com", "password": PASSWORD });
    let wrong = and(&body, "code", &ada.app.wrong_code(&app));
    for _ in 0..10 {
        let answer = ada.session.post(MY_EMAIL, wrong.clone()).await;
        assert_refused(&answer, "code", "wrong_code");
    }
    let right = and(&body, "code", &ada.app.code(&app));
    let answer = ada.session.post(MY_EMAIL, right).await;
    answer.assert_problem(429, "too_many_attempts");
    let token = app.ask(&ada.email).await;
    let answer = app.try_code(&token, &ada.app.code(&app)).await;
    answer.assert_problem(429, "too_many_attempts");
    app.run_jobs().await;
}

#[tokio::test]
async fn who_has_no_second_factor_shows_none() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["read"]).await;
    let grace = app.enrol("grace").await;
    for (path, body) in routes(&key.id) {
        // Nor does somebody else's do.
        for (field, proof) in [
            ("code", grace.app.code(&app)),
            ("recovery_code", grace.recovery_codes[0].clone()),
        ] {
            let answer = ada.post(&path, and(&body, field, &proof)).await;
            answer.assert_problem(409, "conflict");
        }
        let nulls = and(&body, "code", "");
        ada.post(&path, nulls).await.assert_field("code");
        let mut nulls = body;
        nulls["code"] = Value::Null;
        let answer = ada.post(&path, nulls).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
    }
    app.run_jobs().await;
}
