//! The owner of an old address undoes a change of it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Session, TestApp};
use crate::mfa::{CONFIRM, RECOVERY_CODES, begin};

const UNDO: &str = "/api/v1/auth/undo-email-change";
const LOGIN: &str = "/api/v1/auth/login";
const VERIFY: &str = "/api/v1/auth/verify-email";
const MY_EMAIL: &str = "/api/v1/users/me/email";
const NEW: &str = "a password of another kind";
const SUBJECT: &str = "Your address for Groundwork was changed";

impl TestApp {
    /// Changes the address of whoever this is, up to the email to the old one.
    async fn move_to(&self, session: &Session, new: &str, password: &str) {
        let change = json!({ "email": new, "password": password });
        session.post(MY_EMAIL, change).await.assert_status(202);
        let link = self.email_to(new).await.token();
        self.run_jobs().await;
        self.post(VERIFY, json!({ "token": link }))
            .await
            .assert_status(204);
        self.run_jobs().await;
        // Changes are in the order of their times.
        self.clock.advance(Duration::from_secs(1));
    }

    /// The token in the email about the change of this address.
    fn undo_token(&self, old: &str) -> String {
        let messages = self.inbox.emails_to(old);
        let message = messages.iter().find(|message| message.subject == SUBJECT);
        let message = message.expect("the old address is reported");
        assert_eq!(message.links()[0].path(), "/undo-email-change");
        message.token().expect("it has a link")
    }

    async fn sign_in_status(&self, email: &str, password: &str) -> u16 {
        let body = json!({ "email": email, "password": password });
        self.post(LOGIN, body).await.status.as_u16()
    }
}

fn undo(token: &str) -> Value {
    json!({ "token": token, "password": NEW })
}

#[tokio::test]
async fn the_owner_of_the_old_address_takes_the_account_back_whatever_an_intruder_did() {
    let app = TestApp::new().await;
    let owner = app.sign_in("ada").await;
    let before = owner.new_key(&["read"]).await;
    app.run_jobs().await;
    app.clock.advance(Duration::from_secs(1));
    let intruder = app.log_in("ada@example.com").await;
    app.move_to(&intruder, "intruder@example.com", PASSWORD)
        .await;
    let token = app.undo_token("ada@example.com");

    // The intruder makes the account their own by all that there is.
    let theirs = "the password of an intruder";
    let change = json!({ "current_password": PASSWORD, "new_password": theirs });
    intruder
        .post("/api/v1/users/me/password", change)
        .await
        .assert_status(204);
    let wanted = json!({ "name": "CI", "scopes": ["read"], "password": theirs });
    let key = intruder.post("/api/v1/api-keys", wanted).await;
    key.assert_status(201);
    let begun = intruder
        .post("/api/v1/auth/mfa/totp", json!({ "password": theirs }))
        .await;
    let secret = begun.body["secret"].as_str().expect("a secret");
    let device = crate::mfa::Authenticator::new(secret);
    let code = json!({ "code": device.code(&app) });
    intruder.post(CONFIRM, code).await.assert_status(200);
    app.run_jobs().await;
    let reset = app.forget("intruder@example.com").await;

    app.post(UNDO, undo(&token)).await.assert_status(204);
    app.run_jobs().await;
    assert_eq!(app.sign_in_status("ada@example.com", NEW).await, 200);
    for (email, password) in [
        ("ada@example.com", PASSWORD),
        ("ada@example.com", theirs),
        ("intruder@example.com", theirs),
        ("intruder@example.com", NEW),
    ] {
        assert_eq!(app.sign_in_status(email, password).await, 401, "{email}");
    }
    assert!(!intruder.is_signed_in().await && !owner.is_signed_in().await);
    let with_key = |key: &str| {
        let (replica, key) = (app.replica.clone(), key.to_owned());
        async move {
            let call = replica.call(reqwest::Method::GET, "/api/v1/users/me", Some(&key), None);
            call.await.status.as_u16()
        }
    };
    assert_eq!(
        with_key(key.body["key"].as_str().expect("a key")).await,
        401
    );
    assert_eq!(
        with_key(&before.text).await,
        200,
        "what was there before stays"
    );
    let late = json!({ "token": reset, "password": "yet another password" });
    let late = app.post("/api/v1/auth/reset-password", late).await;
    late.assert_problem(422, "invalid_token");
    app.post(UNDO, undo(&token))
        .await
        .assert_problem(422, "invalid_token");
    assert_eq!(app.audited("email_change_undone").await, 1);
    let reported = app.inbox.emails_to("ada@example.com");
    assert_eq!(
        reported[0].subject,
        "Your password for Groundwork was changed"
    );
}

#[tokio::test]
async fn a_second_factor_from_before_the_change_stays_and_codes_made_since_go() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let change = json!({ "email": "new@example.com", "password": PASSWORD, "recovery_code": ada.recovery_codes[0] });
    ada.session.post(MY_EMAIL, change).await.assert_status(202);
    let link = app.email_to("new@example.com").await.token();
    app.post(VERIFY, json!({ "token": link }))
        .await
        .assert_status(204);
    app.run_jobs().await;
    let renew = json!({ "password": PASSWORD, "recovery_code": ada.recovery_codes[1] });
    let renewed = ada.session.post(RECOVERY_CODES, renew).await;
    renewed.assert_status(200);
    app.post(UNDO, undo(&app.undo_token(&ada.email)))
        .await
        .assert_status(204);
    app.run_jobs().await;

    let asked = app
        .post(LOGIN, json!({ "email": ada.email, "password": NEW }))
        .await;
    asked.assert_status(202);
    let second = |field: &str, proof: &Value| {
        let mut body = json!({ "mfa_token": asked.body["mfa_token"] });
        body[field] = proof.clone();
        body
    };
    let theirs = second("recovery_code", &renewed.body["recovery_codes"][0]);
    app.post(crate::mfa::LOGIN_MFA, theirs)
        .await
        .assert_problem(401, "invalid_mfa_code");
    let own = second("code", &json!(ada.app.code(&app)));
    app.post(crate::mfa::LOGIN_MFA, own)
        .await
        .assert_status(200);
}

#[tokio::test]
async fn an_authenticator_that_waits_to_be_confirmed_goes_with_the_change() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.move_to(&ada, "new@example.com", PASSWORD).await;
    begin(&ada).await;
    app.post(UNDO, undo(&app.undo_token("ada@example.com")))
        .await
        .assert_status(204);
    app.run_jobs().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM mfa_factors")
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn of_twenty_who_undo_a_change_at_once_one_does() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.sign_in("ada").await;
    app.move_to(&ada, "new@example.com", PASSWORD).await;
    let token = app.undo_token("ada@example.com");
    let calls = (0..20).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        let body = Some(undo(&token));
        replica.call(reqwest::Method::POST, UNDO, None, body)
    });
    let answers = join_all(calls).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 204);
    assert_eq!(won.len(), 1);
    for loser in lost {
        loser.assert_problem(422, "invalid_token");
    }
    assert_eq!(app.audited("email_change_undone").await, 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_address_that_was_changed_twice_is_restored_by_its_first_owner() {
    let app = TestApp::new().await;
    let intruder = app.sign_in("ada").await;
    app.move_to(&intruder, "first@example.com", PASSWORD).await;
    app.clock.advance(Duration::from_mins(1));
    app.move_to(&intruder, "second@example.com", PASSWORD).await;
    let (own, theirs) = (
        app.undo_token("ada@example.com"),
        app.undo_token("first@example.com"),
    );

    app.post(UNDO, undo(&own)).await.assert_status(204);
    app.run_jobs().await;
    app.post(UNDO, undo(&theirs))
        .await
        .assert_problem(422, "invalid_token");
    assert_eq!(app.sign_in_status("ada@example.com", NEW).await, 200);
}

#[tokio::test]
async fn the_undo_of_a_later_change_does_not_take_the_first_owners_away() {
    let app = TestApp::new().await;
    let intruder = app.sign_in("ada").await;
    app.move_to(&intruder, "first@example.com", PASSWORD).await;
    app.move_to(&intruder, "second@example.com", PASSWORD).await;
    let (own, theirs) = (
        app.undo_token("ada@example.com"),
        app.undo_token("first@example.com"),
    );
    let back = json!({ "token": theirs, "password": "the password of an intruder" });
    app.post(UNDO, back).await.assert_status(204);
    app.post(UNDO, undo(&own)).await.assert_status(204);
    app.run_jobs().await;
    assert_eq!(app.sign_in_status("ada@example.com", NEW).await, 200);
}

#[tokio::test]
async fn an_undo_works_for_seven_days_and_then_the_old_address_is_forgotten() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    app.move_to(&ada, "new-ada@example.com", PASSWORD).await;
    app.move_to(&grace, "new-grace@example.com", PASSWORD).await;
    app.clock.advance(Duration::from_hours(7 * 24 - 1));
    app.post(UNDO, undo(&app.undo_token("ada@example.com")))
        .await
        .assert_status(204);
    app.run_jobs().await;
    app.clock
        .advance(Duration::from_hours(1) + Duration::from_secs(1));
    let late = app
        .post(UNDO, undo(&app.undo_token("grace@example.com")))
        .await;
    late.assert_problem(422, "invalid_token");
    job_queue::enqueue(&app.state.db, &groundwork::auth::PurgeExpired {}, None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM email_changes")
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_old_address_that_somebody_else_has_proved_stays_theirs_and_an_unproved_one_does_not() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.move_to(&ada, "new@example.com", PASSWORD).await;
    let token = app.undo_token("ada@example.com");
    app.sign_up("ada").await;
    app.post(UNDO, undo(&token))
        .await
        .assert_problem(409, "conflict");
    assert!(ada.is_signed_in().await, "nothing has changed");
    assert_eq!(app.sign_in_status("new@example.com", PASSWORD).await, 200);

    sqlx::query("UPDATE users SET email_verified_at = NULL WHERE email = 'ada@example.com'")
        .execute(&app.owner_db)
        .await
        .expect("the account is there");
    app.post(UNDO, undo(&token)).await.assert_status(204);
    app.run_jobs().await;
    assert_eq!(app.sign_in_status("ada@example.com", NEW).await, 200);
    assert_eq!(app.audited("unverified_purged").await, 1);
}

#[tokio::test]
async fn a_bad_undo_names_the_field_and_a_disabled_account_is_not_undone() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.move_to(&ada, "new@example.com", PASSWORD).await;
    let token = app.undo_token("ada@example.com");
    for (field, body) in [
        ("token", json!({ "token": "x", "password": NEW })),
        ("token", json!({ "password": NEW })),
        ("password", json!({ "token": token })),
        ("password", json!({ "token": token, "password": "short" })),
        (
            "password",
            json!({ "token": token, "password": "ada@example.com" }),
        ),
        (
            "email",
            json!({ "token": token, "password": NEW, "email": "x@example.com" }),
        ),
    ] {
        app.post(UNDO, body).await.assert_field(field);
    }
    let unknown = app.post(UNDO, undo(&"A".repeat(43))).await;
    unknown.assert_problem(422, "invalid_token");
    let set = async |what: &'static str| {
        sqlx::query(what)
            .execute(&app.owner_db)
            .await
            .expect("it is stored");
    };
    set("UPDATE users SET disabled_at = now()").await;
    app.post(UNDO, undo(&token))
        .await
        .assert_problem(422, "invalid_token");
    set("UPDATE users SET disabled_at = NULL").await;
    app.post(UNDO, undo(&token)).await.assert_status(204);
    app.run_jobs().await;
}
