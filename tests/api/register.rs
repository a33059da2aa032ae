//! Signing up and verifying the address.

use std::time::Duration;

use serde_json::json;

use crate::harness::{PASSWORD, TestApp};

const REGISTER: &str = "/api/v1/auth/register";
const VERIFY: &str = "/api/v1/auth/verify-email";
const RESEND: &str = "/api/v1/auth/resend-verification";

#[tokio::test]
async fn a_newcomer_signs_up_follows_the_email_and_signs_in() {
    let app = TestApp::new().await;
    let new = json!({ "email": "Ada@Example.com", "password": PASSWORD, "first_name": "Ada" });
    app.post(REGISTER, new).await.assert_status(202);

    let message = app.email_to("ada@example.com").await;
    assert_eq!(message.subject, "Confirm your address for Groundwork");
    assert_eq!(message.header("auto-submitted"), Some("auto-generated"));
    let link = message
        .links()
        .into_iter()
        .find(|link| link.path() == "/verify-email")
        .expect("there is a link");
    assert!(
        message.html.contains(&link.as_str().replace('/', "&#x2f;")),
        "{}",
        message.html
    );

    let early = app
        .post(
            "/api/v1/auth/login",
            json!({ "email": "ada@example.com", "password": PASSWORD }),
        )
        .await;
    early.assert_problem(403, "email_not_verified");

    let token = message.token().expect("the link has a token");
    app.post(VERIFY, json!({ "token": token }))
        .await
        .assert_status(204);
    let ada = app.log_in("ada@example.com").await;
    let me = ada.get("/api/v1/users/me").await;
    assert_eq!(me.body["email"], "ada@example.com");
    assert_eq!(me.body["first_name"], "Ada");
    assert_eq!(me.body["role"], "user");
    assert_eq!(app.audited("registered").await, 1);
    assert_eq!(app.audited("email_verified").await, 1);
}

#[tokio::test]
async fn a_known_address_gets_the_same_answer_and_a_email_that_says_so() {
    let app = TestApp::new().await;
    let fresh = app
        .post(
            REGISTER,
            json!({ "email": "ada@example.com", "password": PASSWORD }),
        )
        .await;
    let token = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    app.post(VERIFY, json!({ "token": token }))
        .await
        .assert_status(204);

    let again = app
        .post(
            REGISTER,
            json!({ "email": "ADA@example.com", "password": "quite another one" }),
        )
        .await;
    assert_eq!((fresh.status, &fresh.bytes), (again.status, &again.bytes));
    let message = app.email_to("ada@example.com").await;
    assert_eq!(message.subject, "You already have an account at Groundwork");
    assert!(message.token().is_none());
    app.log_in("ada@example.com").await; // with the password she had
}

#[tokio::test]
async fn signing_up_again_before_verifying_takes_the_newest_email() {
    let app = TestApp::new().await;
    let first = json!({ "email": "ada@example.com", "password": "the first password" });
    app.post(REGISTER, first).await.assert_status(202);
    let first = app.email_to("ada@example.com").await.token();
    app.register("ada@example.com").await;
    let second = app.email_to("ada@example.com").await.token();
    app.post(VERIFY, json!({ "token": first, "password": PASSWORD }))
        .await
        .assert_problem(422, "invalid_token");
    // Which of the two passwords is the owner's, the link alone does not say.
    app.post(VERIFY, json!({ "token": second, "password": PASSWORD }))
        .await
        .assert_status(204);
    app.log_in("ada@example.com").await;
}

#[tokio::test]
async fn bad_input_names_the_field_and_leaves_nothing_behind() {
    let app = TestApp::new().await;
    for (field, body) in [
        ("email", json!({ "email": "ada", "password": PASSWORD })),
        (
            "email",
            json!({ "email": "ada@example.com\r\nBcc: eve@example.com", "password": PASSWORD }),
        ),
        (
            "email",
            json!({ "email": format!("{}@example.com", "a".repeat(10_000)), "password": PASSWORD }),
        ),
        ("email", json!({ "email": 7, "password": PASSWORD })),
        ("email", json!({ "password": PASSWORD })),
        ("password", json!({ "email": "ada@example.com" })),
        (
            "password",
            json!({ "email": "ada@example.com", "password": "short" }),
        ),
        (
            "password",
            json!({ "email": "ada@example.com", "password": "x".repeat(129) }),
        ),
        (
            "password",
            json!({ "email": "ada@example.com", "password": "Password123" }),
        ),
        (
            "password",
            json!({ "email": "ada@example.com", "password": null }),
        ),
        (
            "first_name",
            json!({ "email": "ada@example.com", "password": PASSWORD, "first_name": "A\nB" }),
        ),
        (
            "last_name",
            json!({ "email": "ada@example.com", "password": PASSWORD, "last_name": "x".repeat(101) }),
        ),
        (
            "role",
            json!({ "email": "ada@example.com", "password": PASSWORD, "role": "admin" }),
        ),
        (
            "first_name",
            json!({ "email": "ada@example.com", "password": PASSWORD, "first_name": "a\0b" }),
        ),
    ] {
        let answer = app.post(REGISTER, body.clone()).await;
        assert_eq!(
            answer.body["errors"][0]["field"], field,
            "{body} {}",
            answer.body
        );
        answer.assert_problem(422, "invalid_fields");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains("Password123"));
    }
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts");
    assert_eq!(users, 0);
}

#[tokio::test]
async fn of_twenty_who_follow_one_link_one_wins() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    let token = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    let calls = (0..20).map(|_| app.post(VERIFY, json!({ "token": token })));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 204).count(),
        1
    );
    for loser in answers.iter().filter(|answer| answer.status != 204) {
        loser.assert_problem(422, "invalid_token");
    }
}

#[tokio::test]
async fn twenty_sign_ups_with_one_address_make_one_account() {
    let app = TestApp::new().await;
    let calls = (0..20).map(|_| {
        app.post(
            REGISTER,
            json!({ "email": "ada@example.com", "password": PASSWORD }),
        )
    });
    for answer in futures_util::future::join_all(calls).await {
        answer.assert_status(202);
    }
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts");
    assert_eq!(users, 1);
    let token = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    app.post(VERIFY, json!({ "token": token }))
        .await
        .assert_status(204);
    app.log_in("ada@example.com").await;
}

#[tokio::test]
async fn a_link_expires_and_a_new_email_has_a_new_one() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    let old = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    app.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    app.post(VERIFY, json!({ "token": old }))
        .await
        .assert_problem(422, "invalid_token");

    app.post(RESEND, json!({ "email": "ada@example.com" }))
        .await
        .assert_status(202);
    let new = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    app.post(VERIFY, json!({ "token": new }))
        .await
        .assert_status(204);
    app.post(VERIFY, json!({ "token": new }))
        .await
        .assert_problem(422, "invalid_token");
}

#[tokio::test]
async fn a_new_verification_email_goes_to_unverified_accounts_alone() {
    let app = TestApp::new().await;
    let ada = app.sign_up("ada").await;
    app.inbox.clear();
    let known = app.post(RESEND, json!({ "email": ada })).await;
    let unknown = app
        .post(RESEND, json!({ "email": "nobody@example.com" }))
        .await;
    app.run_jobs().await;
    assert_eq!(
        (known.status, &known.bytes),
        (unknown.status, &unknown.bytes)
    );
    assert!(app.inbox.messages().is_empty());
    app.post(RESEND, json!({ "email": "nobody" }))
        .await
        .assert_field("email");
}

#[tokio::test]
async fn a_link_that_was_never_given_out_is_refused() {
    let app = TestApp::new().await;
    app.post(VERIFY, json!({ "token": "A".repeat(43) }))
        .await
        .assert_problem(422, "invalid_token");
    for junk in [
        "",
        "x",
        "../../etc/passwd",
        &"A".repeat(42),
        &"A".repeat(44),
        &"A".repeat(9_000),
    ] {
        app.post(VERIFY, json!({ "token": junk }))
            .await
            .assert_field("token");
    }
    app.post(VERIFY, json!({})).await.assert_field("token");
}

#[tokio::test]
async fn no_link_waits_in_the_queue_and_only_its_hash_is_stored() {
    let app = TestApp::new().await;
    app.register("ada@example.com").await;
    let payload: String =
        sqlx::query_scalar("SELECT payload::text FROM graphile_worker._private_jobs")
            .fetch_one(&app.owner_db)
            .await
            .expect("the job waits");
    assert_eq!(payload, r#"{"email":"ada@example.com"}"#);
    let token = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    let stored: Vec<u8> = sqlx::query_scalar("SELECT token_hash FROM one_time_tokens")
        .fetch_one(&app.owner_db)
        .await
        .expect("the link is stored");
    assert!(
        !stored
            .windows(8)
            .any(|part| token.as_bytes().windows(8).any(|text| text == part))
    );
    assert_eq!(stored.len(), 32);
}

#[tokio::test]
async fn a_email_that_is_refused_is_sent_again_and_carries_a_working_link() {
    let mut app = TestApp::new().await;
    app.inbox.refuse_next(1, 451);
    app.register("ada@example.com").await;
    app.run_jobs().await;
    assert!(app.inbox.messages().is_empty());
    app.hurry_jobs().await;
    let token = app
        .email_to("ada@example.com")
        .await
        .token()
        .expect("there is a link");
    app.post(VERIFY, json!({ "token": token }))
        .await
        .assert_status(204);

    // One that is refused for good stays in the queue, where an operator finds it.
    app.inbox.refuse_next(100, 550);
    app.register("eve@example.com").await;
    for _ in 0..18 {
        app.hurry_jobs().await;
        app.run_jobs().await;
    }
    assert_eq!(
        job_queue::count_dead(&app.state.db)
            .await
            .expect("it counts"),
        1
    );
    app.expect_dead_jobs();
}

#[tokio::test]
async fn a_password_is_hashed_whether_or_not_the_address_is_known() {
    // Nothing is timed here: with the pool shut for new work both answers are the pool's.
    let app = TestApp::with(&[
        ("PASSWORD_QUEUE_TIMEOUT", "1ms"),
        ("PASSWORD_THREADS", "1"),
        ("PASSWORD_ITERATIONS", "20"),
    ])
    .await;
    sqlx::query("INSERT INTO users (id, email, password_hash, email_verified_at, created_at, updated_at) VALUES (gen_random_uuid(), 'known@example.com', 'x', now(), now(), now())")
        .execute(&app.owner_db)
        .await
        .expect("the account is there");
    for email in ["known@example.com", "unknown@example.com"] {
        let calls =
            (0..8).map(|_| app.post(REGISTER, json!({ "email": email, "password": PASSWORD })));
        let answers = futures_util::future::join_all(calls).await;
        let busy: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 503)
            .collect();
        assert!(
            !busy.is_empty(),
            "{email}: all were answered without waiting for a hash"
        );
        busy[0].assert_problem(503, "busy");
    }
    app.run_jobs().await;
}
