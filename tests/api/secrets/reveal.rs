//! Values are shown to persons who prove their identity again, and damaged ones to nobody.

use std::time::Duration;

use groundwork::sealed::SECRET_VALUES;
use reqwest::Method;
use serde_json::json;

use super::{SECRETS, VALUE, path};
use crate::harness::{PASSWORD, TestApp};
use crate::organisations::proof;

#[tokio::test]
async fn a_value_is_shown_after_the_password_and_the_second_factor() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let session = &ada.session;
    session.put_secret("a", VALUE).await.assert_status(201);
    let reveal = format!("{}/reveal", path("a"));
    let wrong = session.post(&reveal, json!({ "password": "wrong" })).await;
    wrong.assert_field("password");
    let no_code = session.post(&reveal, proof()).await;
    no_code.assert_field("code");
    app.clock.advance(Duration::from_mins(1));
    let body = json!({ "password": PASSWORD, "code": ada.app.code(&app) });
    let shown = session.post(&reveal, body.clone()).await;
    shown.assert_status(200);
    assert_eq!(
        shown.body,
        json!({ "name": "a", "version": 1, "value": VALUE })
    );
    assert_eq!(shown.headers["cache-control"], "no-store");
    let again = session.post(&reveal, body).await;
    again.assert_field("code");
    let listed = session.get(SECRETS).await;
    assert!(listed.body["items"][0]["revealed_at"].is_string());
    assert_eq!(app.audited("secret_revealed").await, 1);
    app.run_jobs().await;
    let email = app.email_to(&ada.email).await;
    assert!(!email.text.contains(VALUE));
}

#[tokio::test]
async fn the_first_time_of_a_day_each_manager_of_the_organisation_gets_an_email() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let id = ada.new_organisation("acme").await;
    app.join(&ada, &id, "eve", "admin").await;
    let bob = app.join(&ada, &id, "bob", "member").await;
    app.run_jobs().await;
    let body = Some(json!({ "value": VALUE }));
    let put = ada.for_account(&id, Method::PUT, &path("a"), body).await;
    put.assert_status(201);
    let reveal = format!("{}/reveal", path("a"));
    let refused = bob.for_account(&id, Method::POST, &reveal, Some(proof()));
    refused.await.assert_problem(403, "permission_denied");
    let queued = async || -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM graphile_worker.jobs WHERE task_identifier = 'secrets.notify_revealed'",
        )
        .fetch_one(&app.owner_db)
        .await
        .expect("they are counted")
    };
    for (hours, expected) in [(0, 2), (0, 0), (25, 2)] {
        app.clock.advance(Duration::from_hours(hours));
        let eve = app.log_in("eve@example.com").await;
        let shown = eve.for_account(&id, Method::POST, &reveal, Some(proof()));
        shown.await.assert_status(200);
        assert_eq!(queued().await, expected);
        app.run_jobs().await;
    }
    let email = app.email_to("ada@example.com").await;
    assert!(
        email.text.contains("secret a of the organisation")
            && email.text.contains("eve@example.com"),
        "{}",
        email.text
    );
}

#[tokio::test]
async fn a_damaged_value_is_an_internal_error_and_shown_to_nobody() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.put_secret("a", VALUE).await.assert_status(201);
    let others = app.values(&SECRET_VALUES).await;
    app.clock.advance(Duration::from_secs(1));
    ada.put_secret("a", "another value")
        .await
        .assert_status(200);
    app.assert_damage_is_internal(&SECRET_VALUES, &others, async || ada.reveal("a").await)
        .await;
    let shown = ada.reveal("a").await;
    assert_eq!(shown.body["value"], "another value");
    assert_eq!(app.audited("secret_revealed").await, 1);
    app.run_jobs().await;
}
