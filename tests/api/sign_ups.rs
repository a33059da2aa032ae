//! Several sign-ups for one address: which one its owner confirms.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp};
use crate::process::run_with;

const REGISTER: &str = "/api/v1/auth/register";
const LOGIN: &str = "/api/v1/auth/login";
const VERIFY: &str = "/api/v1/auth/verify-email";
const EMAIL: &str = "v@example.com";
const OWNERS: &str = "the password of the owner";
const STRANGERS: &str = "what a stranger has typed";

impl TestApp {
    /// Signs up with this password, and returns the token in the email.
    async fn sign_up_with(&self, password: &str) -> String {
        let body = json!({ "email": EMAIL, "password": password, "first_name": password });
        self.post(REGISTER, body).await.assert_status(202);
        let token = self.email_to(EMAIL).await.token();
        token.expect("there is a link")
    }

    async fn tried(&self, password: &str) -> u16 {
        let body = json!({ "email": EMAIL, "password": password });
        self.post(LOGIN, body).await.status.as_u16()
    }

    async fn how_many(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&self.state.db)
            .await
            .expect("it counts")
    }
}

fn proof(token: &str, password: &str) -> Value {
    json!({ "token": token, "password": password })
}

#[tokio::test]
async fn the_owners_password_is_confirmed_in_either_order_of_sign_ups() {
    for order in [[OWNERS, STRANGERS], [STRANGERS, OWNERS]] {
        let app = TestApp::new().await;
        app.sign_up_with(order[0]).await;
        let newest = app.sign_up_with(order[1]).await;
        let asked = app.post(VERIFY, json!({ "token": newest })).await;
        asked.assert_field("password");
        assert_eq!(asked.body["errors"][0]["code"], "password_required");
        for password in [OWNERS, STRANGERS] {
            assert!(
                matches!(app.tried(password).await, 401 | 403),
                "nobody is signed in"
            );
        }
        app.post(VERIFY, proof(&newest, OWNERS))
            .await
            .assert_status(204);
        assert_eq!(
            (app.tried(OWNERS).await, app.tried(STRANGERS).await),
            (200, 401)
        );
        assert_eq!(app.how_many("SELECT count(*) FROM sign_ups").await, 0);
        let name: Option<String> = sqlx::query_scalar("SELECT first_name FROM users")
            .fetch_one(&app.owner_db)
            .await
            .expect("the account is there");
        assert_eq!(name.as_deref(), Some(OWNERS));
        app.post(VERIFY, proof(&newest, STRANGERS))
            .await
            .assert_problem(422, "invalid_token");
    }
}

#[tokio::test]
async fn a_password_that_nobody_signed_up_with_confirms_nothing_and_leaves_the_link() {
    let app = TestApp::new().await;
    app.sign_up_with(OWNERS).await;
    let token = app.sign_up_with(STRANGERS).await;
    for (wrong, code) in [
        ("not one of the two", "wrong_password"),
        ("x", "wrong_password"),
    ] {
        let answer = app.post(VERIFY, proof(&token, wrong)).await;
        answer.assert_field("password");
        assert_eq!(answer.body["errors"][0]["code"], code, "{}", answer.body);
    }
    app.post(VERIFY, proof(&token, OWNERS))
        .await
        .assert_status(204);
    assert_eq!(app.tried(OWNERS).await, 200);
}

#[tokio::test]
async fn signing_up_again_with_the_same_password_asks_for_nothing_more() {
    let app = TestApp::new().await;
    app.sign_up_with(OWNERS).await;
    let token = app.sign_up_with(OWNERS).await;
    app.post(VERIFY, json!({ "token": token }))
        .await
        .assert_status(204);
    assert_eq!(app.tried(OWNERS).await, 200);
}

#[tokio::test]
async fn a_password_that_is_given_for_the_only_sign_up_must_be_right() {
    let app = TestApp::new().await;
    let token = app.sign_up_with(STRANGERS).await;
    app.post(VERIFY, proof(&token, OWNERS))
        .await
        .assert_field("password");
    assert_eq!(app.tried(STRANGERS).await, 403, "it still waits");
    app.post(VERIFY, proof(&token, STRANGERS))
        .await
        .assert_status(204);
}

#[tokio::test]
async fn a_sign_up_that_comes_while_the_link_is_followed_is_not_confirmed_by_it() {
    let app = TestApp::new().await;
    let token = app.sign_up_with(OWNERS).await;
    let (confirmed, again) = tokio::join!(
        app.post(VERIFY, json!({ "token": token })),
        app.post(REGISTER, json!({ "email": EMAIL, "password": STRANGERS })),
    );
    again.assert_status(202);
    if confirmed.status != 204 {
        confirmed.assert_field("password");
        app.post(VERIFY, proof(&token, OWNERS))
            .await
            .assert_status(204);
    }
    app.run_jobs().await;
    assert_eq!(
        (app.tried(OWNERS).await, app.tried(STRANGERS).await),
        (200, 401)
    );
}

#[tokio::test]
async fn a_few_sign_ups_are_kept_for_one_address_and_their_number_is_not_revealed() {
    let app = TestApp::new().await;
    let mut answers = Vec::new();
    for n in 0..9 {
        let body = json!({ "email": EMAIL, "password": format!("password number {n} of nine") });
        let answer = app.post(REGISTER, body).await;
        answers.push((answer.status, answer.bytes));
        app.clock.advance(Duration::from_secs(1));
    }
    assert!(answers.iter().all(|it| *it == answers[0]));
    assert_eq!(app.how_many("SELECT count(*) FROM sign_ups").await, 4);
    let message = app.email_to(EMAIL).await;
    assert_eq!(
        app.inbox.emails_to(EMAIL).len(),
        1,
        "those that wait together are one"
    );
    let token = message.token().expect("there is a link");
    let answer = app
        .post(VERIFY, proof(&token, "password number 0 of nine"))
        .await;
    answer.assert_field("password");
    let newest = proof(&token, "password number 8 of nine");
    app.post(VERIFY, newest).await.assert_status(204);
}

#[tokio::test]
async fn a_reset_of_the_password_deletes_the_sign_ups_that_wait() {
    let app = TestApp::new().await;
    app.sign_up_with(OWNERS).await;
    let link = app.sign_up_with(STRANGERS).await;
    let token = app.forget(EMAIL).await;
    let reset = json!({ "token": token, "password": PASSWORD });
    app.post("/api/v1/auth/reset-password", reset)
        .await
        .assert_status(204);
    app.run_jobs().await;
    app.post(VERIFY, proof(&link, STRANGERS))
        .await
        .assert_problem(422, "invalid_token");
    assert_eq!(
        (app.tried(PASSWORD).await, app.tried(STRANGERS).await),
        (200, 401)
    );
    assert_eq!(app.how_many("SELECT count(*) FROM sign_ups").await, 0);
}

#[tokio::test]
async fn an_account_that_an_operator_made_is_not_overwritten_by_a_sign_up() {
    let app = TestApp::new().await;
    let args = ["users", "create", "--email", EMAIL];
    let made = run_with(&app.settings, &args, OWNERS).await;
    assert!(made.status.success());
    let token = app.sign_up_with(STRANGERS).await;
    app.post(VERIFY, json!({ "token": token }))
        .await
        .assert_field("password");
    app.post(VERIFY, proof(&token, OWNERS))
        .await
        .assert_status(204);
    assert_eq!(
        (app.tried(OWNERS).await, app.tried(STRANGERS).await),
        (200, 401)
    );
}

#[tokio::test]
async fn who_proves_an_address_gets_it_from_a_stranger_who_never_confirmed_it() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_up_with(OWNERS).await;
    let strangers = app.sign_up_with(STRANGERS).await;
    let change = json!({ "email": EMAIL, "password": PASSWORD });
    ada.post("/api/v1/users/me/email", change)
        .await
        .assert_status(202);
    app.run_jobs().await;
    let messages = app.inbox.emails_to(EMAIL);
    assert_eq!(
        messages[0].subject,
        "Confirm your new address for Groundwork"
    );
    let link = messages[0].token().expect("there is a link");
    // Once more in between: that has no proof either.
    let strangers = [strangers, app.sign_up_with(STRANGERS).await];

    app.post(VERIFY, json!({ "token": link }))
        .await
        .assert_status(204);
    app.run_jobs().await;
    assert_eq!(app.tried(PASSWORD).await, 200);
    for token in strangers {
        let late = app.post(VERIFY, proof(&token, STRANGERS)).await;
        late.assert_problem(422, "invalid_token");
    }
    assert_eq!(app.tried(STRANGERS).await, 401);
    assert_eq!(app.how_many("SELECT count(*) FROM users").await, 1);
    assert_eq!(app.audited("unverified_purged").await, 1);
}

#[tokio::test]
async fn an_address_that_an_administrator_has_disabled_is_not_taken_over() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_up_with(STRANGERS).await;
    let change = json!({ "email": EMAIL, "password": PASSWORD });
    ada.post("/api/v1/users/me/email", change.clone())
        .await
        .assert_status(202);
    app.run_jobs().await;
    let link = app.inbox.emails_to(EMAIL)[0]
        .token()
        .expect("there is a link");
    sqlx::query("UPDATE users SET disabled_at = now() WHERE email = $1")
        .bind(EMAIL)
        .execute(&app.owner_db)
        .await
        .expect("the account is there");
    app.post(VERIFY, json!({ "token": link }))
        .await
        .assert_problem(422, "invalid_token");
    app.inbox.clear();
    ada.post("/api/v1/users/me/email", change)
        .await
        .assert_status(202);
    app.run_jobs().await;
    assert!(app.inbox.emails_to(EMAIL).is_empty());
}
