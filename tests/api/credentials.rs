//! Forgotten and changed passwords, and changed addresses.

use std::time::Duration;

use groundwork_dev::inbox::Message;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp};

const FORGOT: &str = "/api/v1/auth/forgot-password";
const RESET: &str = "/api/v1/auth/reset-password";
const LOGIN: &str = "/api/v1/auth/login";
const MY_PASSWORD: &str = "/api/v1/users/me/password";
const MY_EMAIL: &str = "/api/v1/users/me/email";
const NEW: &str = "a password of another kind";

impl TestApp {
    /// Asks for a new password and answers the token in the email.
    pub async fn forget(&self, email: &str) -> String {
        let answer = self.post(FORGOT, json!({ "email": email })).await;
        answer.assert_status(202);
        let message = self.email_to(email).await;
        assert_eq!(message.subject, "Set a new password for Groundwork");
        message.token().expect("the message has a link")
    }

    async fn log_in_status(&self, email: &str, password: &str) -> u16 {
        let body = json!({ "email": email, "password": password });
        self.post(LOGIN, body).await.status.as_u16()
    }
}

/// Holds that the owner is told in both parts what a new password does not end.
#[track_caller]
fn assert_names_keys(message: &Message) {
    for part in [&message.text, &message.html] {
        let words: Vec<_> = part.split_whitespace().collect();
        let part = words.join(" ");
        assert!(part.contains("API keys go on working: revoke"), "{part}");
    }
}

fn reset(token: &str) -> Value {
    json!({ "token": token, "password": NEW })
}

#[tokio::test]
async fn a_forgotten_password_is_reset_and_all_sessions_end() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let elsewhere = app.log_in("ada@example.com").await;
    let grace = app.sign_in("grace").await;
    let token = app.forget("ada@example.com").await;
    app.post(RESET, reset(&token)).await.assert_status(204);
    app.run_jobs().await;

    for session in [&ada, &elsewhere] {
        assert!(!session.is_signed_in().await);
        let refreshed = app.replica.refresh(session.refresh_token()).await;
        refreshed.assert_problem(401, "invalid_refresh_token");
    }
    assert!(grace.is_signed_in().await);
    assert_eq!(app.log_in_status("ada@example.com", PASSWORD).await, 401);
    assert_eq!(app.log_in_status("ada@example.com", NEW).await, 200);
    let reported = app.email_to("ada@example.com").await;
    assert_eq!(reported.subject, "Your password for Groundwork was changed");
    assert_names_keys(&reported);
    assert_eq!(app.audited("password_reset").await, 1);
}

#[tokio::test]
async fn a_link_sets_a_password_once_for_thirty_minutes_and_only_the_newest_does() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let first = app.forget(&ada).await;
    let second = app.forget(&ada).await;
    app.post(RESET, reset(&first))
        .await
        .assert_problem(422, "invalid_token");
    app.clock
        .advance(Duration::from_mins(30) + Duration::from_secs(1));
    app.post(RESET, reset(&second))
        .await
        .assert_problem(422, "invalid_token");
    let third = app.forget(&ada).await;
    app.clock.advance(Duration::from_mins(29));
    app.post(RESET, reset(&third)).await.assert_status(204);
    app.post(RESET, reset(&third))
        .await
        .assert_problem(422, "invalid_token");
    app.run_jobs().await;
}

#[tokio::test]
async fn of_twenty_who_follow_one_link_one_sets_the_password() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    let token = app.forget(&ada).await;
    let calls = (0..20).map(|n| {
        let password = format!("password number {n} of 20");
        app.post(RESET, json!({ "token": token, "password": password }))
    });
    let answers = futures_util::future::join_all(calls).await;
    let winners: Vec<_> = (0..20).filter(|n| answers[*n].status == 204).collect();
    assert_eq!(winners.len(), 1);
    for (n, answer) in answers.iter().enumerate() {
        if n != winners[0] {
            answer.assert_problem(422, "invalid_token");
        }
    }
    let password = format!("password number {} of 20", winners[0]);
    assert_eq!(app.log_in_status(&ada, &password).await, 200);
    app.run_jobs().await;
}

#[tokio::test]
async fn the_page_that_sets_a_password_hides_it_and_lets_managers_fill_it_in() {
    let app = TestApp::new().await;
    let page = app.get("/reset-password?token=x").await;
    page.assert_status(200);
    let text = String::from_utf8(page.bytes).expect("it is text");
    let field = text.split("<input ").nth(1).expect("it has a field");
    let field = field.split('>').next().expect("it ends");
    for part in [r#"type="password""#, r#"autocomplete="new-password""#] {
        assert!(field.contains(part), "{field}");
    }
    // A field with a greatest length cuts off what is pasted, and tells nobody.
    for part in ["maxlength", "onpaste", r#"autocomplete="off""#, "pattern"] {
        assert!(!field.contains(part), "{field}");
    }
    let script = app.get("/assets/link-page.js").await;
    let script = String::from_utf8(script.bytes).expect("it is text");
    assert!(!script.contains("paste"));
}

#[tokio::test]
async fn a_request_reveals_nothing_and_strangers_get_no_email() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.inbox.clear();
    let known = app.post(FORGOT, json!({ "email": ada })).await;
    let unknown = app
        .post(FORGOT, json!({ "email": "nobody@example.com" }))
        .await;
    assert_eq!(
        (known.status, &known.bytes),
        (unknown.status, &unknown.bytes)
    );
    app.run_jobs().await;
    assert_eq!(app.inbox.messages().len(), 1);
    app.post(FORGOT, json!({ "email": "nobody" }))
        .await
        .assert_field("email");
}

#[tokio::test]
async fn the_link_points_to_the_configured_address_whatever_the_request_says() {
    let settings = [
        ("LINK_URL", "https://www.example.com/account/"),
        ("ALLOWED_HOSTS", "*.evil.com"),
    ];
    let app = TestApp::with(&settings).await;
    let ada = app.sign_up("ada").await;
    let request = app
        .replica
        .request(Method::POST, FORGOT)
        .json(&json!({ "email": ada }));
    let request = request
        .header("host", "www.evil.com")
        .header("x-forwarded-host", "evil.com");
    app.replica
        .send(&Method::POST, FORGOT, request)
        .await
        .assert_status(202);
    let link = app.email_to(&ada).await.links().remove(0);
    assert_eq!(
        link.origin().ascii_serialization(),
        "https://www.example.com"
    );
    assert_eq!(link.path(), "/account/reset-password");
    // The token is where browsers keep it to themselves.
    assert_eq!(link.query(), None);
    let fragment = link.fragment().expect("it has a token");
    assert_eq!(fragment.len(), "token=".len() + 43, "{fragment}");
}

#[tokio::test]
async fn an_account_that_was_never_verified_is_verified_by_setting_a_password() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    app.run_jobs().await;
    let token = app.forget("ada@example.com").await;
    app.post(RESET, reset(&token)).await.assert_status(204);
    app.run_jobs().await;
    assert_eq!(app.log_in_status("ada@example.com", NEW).await, 200);
}

#[tokio::test]
async fn a_link_is_good_for_its_own_purpose_only() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    let verify = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    app.post(RESET, reset(&verify))
        .await
        .assert_problem(422, "invalid_token");
    let set = app.forget("ada@example.com").await;
    let wrong = app
        .post("/api/v1/auth/verify-email", json!({ "token": set }))
        .await;
    wrong.assert_problem(422, "invalid_token");
    app.post(RESET, reset("x")).await.assert_field("token");
    app.post(RESET, reset(&"A".repeat(43)))
        .await
        .assert_problem(422, "invalid_token");
    app.post(RESET, json!({ "token": set, "password": "short" }))
        .await
        .assert_field("password");
    app.post(RESET, reset(&set)).await.assert_status(204); // nothing above used it up
    app.run_jobs().await;
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions_and_keeps_this_one() {
    let app = TestApp::new().await;
    let here = app.sign_in("ada").await;
    let there = app.log_in("ada@example.com").await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    here.post(MY_PASSWORD, change.clone())
        .await
        .assert_status(204);
    app.run_jobs().await;
    assert!(here.is_signed_in().await && !there.is_signed_in().await);
    app.replica
        .refresh(here.refresh_token())
        .await
        .assert_status(200);
    app.replica
        .refresh(there.refresh_token())
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert_eq!(app.log_in_status("ada@example.com", NEW).await, 200);
    here.post(MY_PASSWORD, change)
        .await
        .assert_field("current_password");
    assert_eq!(app.audited("password_changed").await, 1);
    assert_eq!(app.audited("reauthentication_failed").await, 1);
    let reported = app.email_to("ada@example.com").await;
    assert_eq!(reported.subject, "Your password for Groundwork was changed");
    assert_names_keys(&reported);
}

#[tokio::test]
async fn a_password_is_changed_by_its_owner_and_to_a_good_one_only() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for (field, change) in [
        (
            "current_password",
            json!({ "current_password": "wrong", "new_password": NEW }),
        ),
        ("current_password", json!({ "new_password": NEW })),
        ("new_password", json!({ "current_password": PASSWORD })),
        (
            "new_password",
            json!({ "current_password": PASSWORD, "new_password": "password1" }),
        ),
    ] {
        ada.post(MY_PASSWORD, change).await.assert_field(field);
    }
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.post(MY_PASSWORD, change)
        .await
        .assert_problem(401, "unauthenticated");
    assert_eq!(app.log_in_status("ada@example.com", PASSWORD).await, 200);
}

#[tokio::test]
async fn of_twenty_changes_of_one_password_one_wins() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let calls = (0..20).map(|n| {
        let new = format!("password number {n} of 20");
        ada.post(
            MY_PASSWORD,
            json!({ "current_password": PASSWORD, "new_password": new }),
        )
    });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 204).count(),
        1
    );
    for loser in answers.iter().filter(|answer| answer.status != 204) {
        loser.assert_field("current_password");
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn a_new_address_takes_effect_once_it_is_confirmed_and_the_old_one_is_notified() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let change = json!({ "email": "Countess@Example.com", "password": PASSWORD });
    ada.post(MY_EMAIL, change).await.assert_status(202);
    let message = app.email_to("countess@example.com").await;
    assert_eq!(message.subject, "Confirm your new address for Groundwork");
    app.run_jobs().await;
    let reported = app.email_to("ada@example.com").await;
    assert_eq!(
        reported.subject,
        "Your address for Groundwork is about to change"
    );
    assert_eq!(app.log_in_status("ada@example.com", PASSWORD).await, 200);

    let token = message.token().expect("the message has a link");
    let proof = json!({ "token": token });
    app.post("/api/v1/auth/verify-email", proof.clone())
        .await
        .assert_status(204);
    assert_eq!(app.log_in_status("ada@example.com", PASSWORD).await, 401);
    assert_eq!(
        app.log_in_status("countess@example.com", PASSWORD).await,
        200
    );
    assert_eq!(
        ada.get("/api/v1/users/me").await.body["email"],
        "countess@example.com"
    );
    app.post("/api/v1/auth/verify-email", proof)
        .await
        .assert_problem(422, "invalid_token");
    assert_eq!(app.audited("email_changed").await, 1);
    let reported = app.email_to("ada@example.com").await;
    assert_eq!(reported.subject, "Your address for Groundwork was changed");
}

#[tokio::test]
async fn of_twenty_who_follow_one_confirming_link_one_changes_the_address() {
    let app = TestApp::new().await;
    let other = app.another_replica().await;
    let ada = app.sign_in("ada").await;
    let change = json!({ "email": "countess@example.com", "password": PASSWORD });
    ada.post(MY_EMAIL, change).await.assert_status(202);
    let message = app.email_to("countess@example.com").await;
    app.run_jobs().await;
    let proof = json!({ "token": message.token().expect("the message has a link") });
    let calls = (0..20).map(|n| {
        let replica = if n % 2 == 0 { &app.replica } else { &other };
        let path = "/api/v1/auth/verify-email";
        replica.call(Method::POST, path, None, Some(proof.clone()))
    });
    let answers = futures_util::future::join_all(calls).await;
    let (winners, losers): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 204);
    assert_eq!(winners.len(), 1);
    for loser in losers {
        loser.assert_problem(422, "invalid_token");
    }
    assert_eq!(app.audited("email_changed").await, 1);
    assert_eq!(
        ada.get("/api/v1/users/me").await.body["email"],
        "countess@example.com"
    );
    app.run_jobs().await;
}

#[tokio::test]
async fn of_twenty_accounts_that_confirm_one_address_at_once_one_gets_it() {
    let app = TestApp::new().await;
    let mut links = Vec::new();
    for n in 0..20 {
        let session = app.sign_in(&format!("person-{n}")).await;
        let change = json!({ "email": "prize@example.com", "password": PASSWORD });
        session.post(MY_EMAIL, change).await.assert_status(202);
        let message = app.email_to("prize@example.com").await;
        links.push(message.token().expect("the message has a link"));
    }
    let calls = links.iter().map(|token| {
        let proof = json!({ "token": token });
        app.post("/api/v1/auth/verify-email", proof)
    });
    let answers = futures_util::future::join_all(calls).await;
    let won = answers.iter().filter(|answer| answer.status == 204);
    assert_eq!(won.count(), 1);
    for loser in answers.iter().filter(|answer| answer.status != 204) {
        loser.assert_problem(422, "invalid_token");
    }
    assert_eq!(app.audited("email_changed").await, 1);
    assert_eq!(app.log_in_status("prize@example.com", PASSWORD).await, 200);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_address_that_is_somebody_elses_is_never_given_away() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_up("grace").await;
    app.inbox.clear();
    let taken = ada
        .post(
            MY_EMAIL,
            json!({ "email": "grace@example.com", "password": PASSWORD }),
        )
        .await;
    let free = ada
        .post(
            MY_EMAIL,
            json!({ "email": "free@example.com", "password": PASSWORD }),
        )
        .await;
    assert_eq!((taken.status, &taken.bytes), (free.status, &free.bytes));
    let message = app.email_to("free@example.com").await;
    app.run_jobs().await;
    assert!(app.inbox.emails_to("grace@example.com").is_empty());

    // Somebody signs up with it before the link is followed.
    app.sign_up("free").await;
    let proof = json!({ "token": message.token() });
    app.post("/api/v1/auth/verify-email", proof)
        .await
        .assert_problem(422, "invalid_token");
    assert_eq!(
        ada.get("/api/v1/users/me").await.body["email"],
        "ada@example.com"
    );

    let wrong = ada
        .post(
            MY_EMAIL,
            json!({ "email": "x@example.com", "password": "wrong" }),
        )
        .await;
    wrong.assert_field("password");
    ada.post(MY_EMAIL, json!({ "email": "x", "password": PASSWORD }))
        .await
        .assert_field("email");
    let nobody = app
        .post(
            MY_EMAIL,
            json!({ "email": "x@example.com", "password": PASSWORD }),
        )
        .await;
    nobody.assert_problem(401, "unauthenticated");
}
