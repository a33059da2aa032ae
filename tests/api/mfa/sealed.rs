//! What the database knows of a second factor, and what it does not.

use groundwork::sealed::ResealColumns;
use serde_json::json;

use super::{CONFIRM, begin};
use crate::harness::TestApp;

/// What `keys generate` might print.
const NEW_KEY: &str = "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8";

#[tokio::test]
async fn no_row_holds_a_secret_a_code_or_a_token() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    app.run_jobs().await;
    let stored: Vec<u8> = sqlx::query_scalar("SELECT secret FROM mfa_factors")
        .fetch_one(&app.owner_db)
        .await
        .expect("there is one");
    assert!(stored.len() > 20);
    assert!(!stored.windows(20).any(|part| part == ada.app.secret));
    assert!(
        !stored
            .windows(5)
            .any(|part| ada.app.secret.windows(5).any(|it| it == part))
    );
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT row_to_json(r)::text FROM recovery_codes AS r
         UNION ALL SELECT row_to_json(c)::text FROM mfa_challenges AS c
         UNION ALL SELECT row_to_json(l)::text FROM audit_log AS l",
    )
    .fetch_all(&app.owner_db)
    .await
    .expect("they are read");
    let rows = rows.join("\n");
    for code in &ada.recovery_codes {
        assert!(!rows.contains(code.as_str()) && !rows.contains(&code.replace('-', "")));
    }
    assert!(!rows.contains(&token));
}

#[tokio::test]
async fn a_secret_that_is_moved_to_another_account_opens_nothing() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let grace = app.enrol("grace").await;
    sqlx::query(
        "UPDATE mfa_factors SET secret = (
             SELECT f.secret FROM mfa_factors AS f JOIN users AS u ON u.id = f.user_id WHERE u.email = $1)
         WHERE user_id = (SELECT id FROM users WHERE email = $2)",
    )
    .bind(&ada.email)
    .bind(&grace.email)
    .execute(&app.owner_db)
    .await
    .expect("it is moved");
    let token = app.ask(&grace.email).await;
    for code in [ada.app.code(&app), grace.app.code(&app)] {
        let answer = app.try_code(&token, &code).await;
        answer.assert_problem(500, "internal");
    }
}

#[tokio::test]
async fn a_new_key_in_front_opens_what_the_old_one_sealed() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let both = format!("{NEW_KEY},{}", app.settings["ENCRYPTION_KEYS"]);
    let rotated = app
        .another_replica_with(&[("ENCRYPTION_KEYS", &both)])
        .await;
    let without = app
        .another_replica_with(&[("ENCRYPTION_KEYS", NEW_KEY)])
        .await;
    let token = app.ask(&ada.email).await;
    let code = ada.app.code(&app);
    let answer = super::try_code_at(&without, &token, &code).await;
    answer.assert_problem(500, "internal");
    let answer = super::try_code_at(&rotated, &token, &code).await;
    answer.assert_status(200);

    // What is sealed from now on the old key does not open.
    let mut grace = app.sign_in("grace").await;
    grace.replica = rotated;
    let authenticator = begin(&grace).await;
    let body = json!({ "code": authenticator.code(&app) });
    grace.replica = app.replica.clone();
    let answer = grace.post(CONFIRM, body.clone()).await;
    answer.assert_problem(500, "internal");
    grace.replica = without;
    grace.post(CONFIRM, body).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn every_night_what_an_older_key_sealed_is_sealed_under_the_first() {
    let mut app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let grace = app.enrol("grace").await;
    sqlx::query(
        "UPDATE mfa_factors SET secret = set_byte(secret, 40, get_byte(secret, 40) # 1)
         WHERE user_id = (SELECT id FROM users WHERE email = $1)",
    )
    .bind(&grace.email)
    .execute(&app.owner_db)
    .await
    .expect("it is damaged");
    let both = format!("{NEW_KEY},{}", app.settings["ENCRYPTION_KEYS"]);
    let rotated = app
        .another_replica_with(&[("ENCRYPTION_KEYS", &both)])
        .await;
    app.state = rotated.state;
    job_queue::enqueue(&app.state.db, &ResealColumns::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;

    let without = app
        .another_replica_with(&[("ENCRYPTION_KEYS", NEW_KEY)])
        .await;
    let token = app.ask(&ada.email).await;
    let answer = super::try_code_at(&without, &token, &ada.app.code(&app)).await;
    answer.assert_status(200);
    // What does not open stays as it is, and the job tells of it by failing.
    let error: String = sqlx::query_scalar("SELECT last_error FROM graphile_worker._private_jobs")
        .fetch_one(&app.owner_db)
        .await
        .expect("it waits for its next try");
    assert!(
        error.contains("1 value(s) cannot be decrypted, 0 value(s)"),
        "{error}"
    );
    app.expect_dead_jobs();
}
