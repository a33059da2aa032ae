//! One password, written by different devices in different ways; and hashes from before.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Answer, PASSWORD, Replica, TestApp};
use crate::process::binary::{run_with, stderr};

const LOGIN: &str = "/api/v1/auth/login";
const MY_PASSWORD: &str = "/api/v1/users/me/password";

/// "Zürich Ångström" with composed characters and an ordinary space, as most devices type it.
const COMPOSED: &str = "Z\u{fc}rich \u{c5}ngstr\u{f6}m";

/// The same with decomposed characters, as some devices type it.
const DECOMPOSED: &str = "Zu\u{308}rich A\u{30a}ngstro\u{308}m";

async fn log_in(replica: &Replica, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    replica.call(Method::POST, LOGIN, None, Some(body)).await
}

/// An account whose owner chose `password`.
async fn account(app: &TestApp, email: &str, password: &str) {
    let body = json!({ "email": email, "password": password });
    let answer = app.post("/api/v1/auth/register", body).await;
    answer.assert_status(202);
    let token = app.email_to(email).await.token();
    let answer = app
        .post("/api/v1/auth/verify-email", json!({ "token": token }))
        .await;
    answer.assert_status(204);
}

async fn set_hash(app: &TestApp, email: &str, hash: &str) {
    let statement = sqlx::query("UPDATE users SET password_hash = $1 WHERE email = $2");
    let done = statement.bind(hash).bind(email);
    let done = done.execute(&app.owner_db).await.expect("it is written");
    assert_eq!(done.rows_affected(), 1);
}

async fn stored_hash(app: &TestApp, email: &str) -> String {
    let statement = sqlx::query_scalar("SELECT password_hash FROM users WHERE email = $1");
    let found = statement.bind(email).fetch_one(&app.owner_db).await;
    found.expect("the account is there")
}

#[tokio::test]
async fn a_password_is_accepted_in_each_way_that_devices_write_it() {
    let app = TestApp::new().await;
    account(&app, "composed@example.com", COMPOSED).await;
    account(&app, "decomposed@example.com", DECOMPOSED).await;
    account(
        &app,
        "vietnam@example.com",
        "m\u{1ead}t kh\u{1ea9}u c\u{1ee7}a t\u{f4}i",
    )
    .await;
    account(
        &app,
        "seoul@example.com",
        "\u{d55c}\u{ad6d}\u{c5b4} password",
    )
    .await;
    for (email, password) in [
        ("composed@example.com", COMPOSED),
        ("composed@example.com", DECOMPOSED),
        (
            "composed@example.com",
            "Z\u{fc}rich\u{a0}\u{212b}ngstr\u{f6}m",
        ),
        ("decomposed@example.com", COMPOSED),
        ("decomposed@example.com", DECOMPOSED),
        // One accent composed, the other not; and the marks in another order.
        (
            "vietnam@example.com",
            "m\u{e2}\u{323}t kh\u{1ea9}u c\u{1ee7}a t\u{f4}i",
        ),
        (
            "vietnam@example.com",
            "ma\u{323}\u{302}t kh\u{1ea9}u c\u{1ee7}a t\u{f4}i",
        ),
        // Syllables typed in their parts, and a space of an input method.
        (
            "seoul@example.com",
            "\u{1112}\u{1161}\u{11ab}\u{ad6d}\u{c5b4}\u{3000}password",
        ),
    ] {
        let answer = log_in(&app.replica, email, password).await;
        assert_eq!(answer.status, 200, "{email} {password:?}");
    }
    for other in [
        "Zurich Angstrom",
        "z\u{fc}rich \u{e5}ngstr\u{f6}m",
        "Z\u{fc}rich\u{c5}ngstr\u{f6}m",
        "Z\u{fc}rich \u{c5}ngstr\u{f6}m ",
        "\u{ff3a}\u{fc}rich \u{c5}ngstr\u{f6}m",
    ] {
        let answer = log_in(&app.replica, "composed@example.com", other).await;
        answer.assert_problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn a_hash_of_a_password_as_it_was_typed_is_replaced_at_the_next_sign_in() {
    let app = TestApp::new().await;
    for (email, typed) in [
        ("a@example.com", DECOMPOSED),
        ("b@example.com", "a\u{a0}space of another kind"),
        ("c@example.com", "tab\tin the middle"),
    ] {
        account(&app, email, PASSWORD).await;
        let hash = app.state.hasher.hash(typed.into()).await;
        set_hash(&app, email, &hash.expect("it is hashed")).await;
        let answer = log_in(&app.replica, email, "another password").await;
        answer.assert_problem(401, "invalid_credentials");
        assert_eq!(log_in(&app.replica, email, typed).await.status, 200);
    }
    // From now on every way of writing it is accepted.
    let first = stored_hash(&app, "a@example.com").await;
    for password in [COMPOSED, DECOMPOSED] {
        let answer = log_in(&app.replica, "a@example.com", password).await;
        answer.assert_status(200);
    }
    assert_eq!(
        stored_hash(&app, "a@example.com").await,
        first,
        "it is replaced once"
    );
    let answer = log_in(&app.replica, "b@example.com", "a space of another kind").await;
    answer.assert_status(200);
}

#[tokio::test]
async fn reauthentication_accepts_both_forms_and_a_changed_password_is_prepared() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let hash = app.state.hasher.hash(DECOMPOSED.into()).await;
    set_hash(&app, "ada@example.com", &hash.expect("it is hashed")).await;
    let change =
        |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    let new = "cafe\u{301} au\u{2003}lait";
    ada.post(MY_PASSWORD, change(DECOMPOSED, new))
        .await
        .assert_status(204);
    let answer = log_in(&app.replica, "ada@example.com", "caf\u{e9} au lait").await;
    answer.assert_status(200);
    ada.post(MY_PASSWORD, change("caf\u{e9} au lait", "with\u{7}a bell"))
        .await
        .assert_field("new_password");
    // Eight characters as typed are seven when they are composed.
    ada.post(MY_PASSWORD, change("caf\u{e9} au lait", "abcdefe\u{301}"))
        .await
        .assert_field("new_password");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_dormant_account_takes_the_work_of_an_unknown_address_after_the_cost_was_raised() {
    let app = TestApp::new().await;
    for name in ["ada", "grace"] {
        app.sign_up(name).await;
    }
    let raised = [
        ("PASSWORD_MEMORY_KIB", "16384"),
        ("PASSWORD_ITERATIONS", "3"),
    ];
    let raised = app.another_replica_with(&raised).await;
    // Grace has signed in since, so her hash has the new cost.
    let answer = log_in(&raised, "grace@example.com", PASSWORD).await;
    answer.assert_status(200);
    let spent = async |email: &str, password: &str| {
        let (work, began) = (raised.state.hasher.work(), Instant::now());
        let answer = log_in(&raised, email, password).await;
        answer.assert_problem(401, "invalid_credentials");
        let work = raised.state.hasher.work() - work;
        println!("{email} {work} KiB {:?}", began.elapsed());
        work
    };
    for wrong in ["wrong-wrong-wrong", DECOMPOSED] {
        let unknown = spent("nobody@example.com", wrong).await;
        assert!(unknown >= 3 * 16_384);
        for email in ["ada@example.com", "grace@example.com"] {
            let known = spent(email, wrong).await;
            let difference = known.abs_diff(unknown);
            assert!(difference * 1_000 <= unknown, "{email}: {known}, {unknown}");
        }
    }
    // The right password renews the hash, and costs no more from then on.
    let answer = log_in(&raised, "ada@example.com", PASSWORD).await;
    answer.assert_status(200);
    let unknown = spent("nobody@example.com", "wrong-wrong-wrong").await;
    let renewed = spent("ada@example.com", "wrong-wrong-wrong").await;
    assert_eq!(renewed, unknown);
}

#[tokio::test]
async fn a_password_from_standard_input_has_no_byte_order_mark_and_no_line_ending() {
    let app = TestApp::new().await;
    for (email, command, input, password) in [
        (
            "a@example.com",
            "create",
            "\u{feff}with a mark\n",
            "with a mark",
        ),
        ("b@example.com", "create", "of a shell\r\n", "of a shell"),
        ("c@example.com", "create", DECOMPOSED, COMPOSED),
        (
            "d@example.com",
            "create-admin",
            "\u{feff}of an admin\r\n",
            "of an admin",
        ),
    ] {
        let verified: &[_] = if command == "create" {
            &["--verified"]
        } else {
            &[]
        };
        let args = [&["users", command, "--email", email], verified].concat();
        let output = run_with(&app.settings, &args, input).await;
        assert!(output.status.success(), "{email}: {}", stderr(&output));
        let answer = log_in(&app.replica, email, password).await;
        answer.assert_status(200);
    }
    app.run_jobs().await;
}
