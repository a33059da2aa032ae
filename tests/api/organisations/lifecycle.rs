//! Organisations are created, listed, changed, deleted, restored and purged.

use std::time::Duration;

use groundwork::organisations::PurgeOrganisations;
use serde_json::{Value, json};

use super::{ORGANISATIONS, proof};
use crate::harness::TestApp;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_user_creates_lists_and_changes_organisations() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let new = json!({ "name": " Acme Inc. ", "slug": "acme" });
    let made = ada.post(ORGANISATIONS, new).await;
    made.assert_status(201);
    for (field, value) in [
        ("name", json!("Acme Inc.")),
        ("slug", json!("acme")),
        ("role", json!("owner")),
        ("members", json!(1)),
        ("deleted_at", Value::Null),
    ] {
        assert_eq!(made.body[field], value, "{field}");
    }
    let path = format!("{ORGANISATIONS}/acme");
    assert_eq!(ada.get(&path).await.body, made.body);
    app.clock.advance(Duration::from_secs(1));
    let changed = ada.patch(&path, json!({ "name": "Acme" })).await;
    changed.assert_status(200);
    assert_eq!(changed.body["name"], "Acme");
    assert_eq!(changed.body["slug"], "acme");
    ada.new_organisation("second").await;
    let first = ada.get(&format!("{ORGANISATIONS}?limit=1")).await;
    assert_eq!(first.body["items"][0]["slug"], "second");
    let cursor = first.body["next_cursor"].as_str().expect("another page");
    let next = ada
        .get(&format!("{ORGANISATIONS}?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(next.body["items"][0]["slug"], "acme");
    assert_eq!(next.body["next_cursor"], Value::Null);
    let log = ada.get(&format!("{path}/audit-log")).await;
    log.assert_status(200);
    let entries = log.body["items"].as_array().expect("a list");
    let events: Vec<_> = entries.iter().map(|it| &it["event"]).collect();
    assert_eq!(events, ["organisation_changed", "organisation_created"]);
}

#[tokio::test]
async fn bad_names_and_slugs_are_refused_and_a_plan_includes_so_many() {
    let app = TestApp::with(&[("PLAN_FREE_ORGANISATIONS", "2")]).await;
    let (ada, eve) = (app.sign_in("ada").await, app.sign_in("eve").await);
    let long = "a".repeat(64);
    for slug in [
        "",
        "ab",
        "-a",
        "admin",
        "api",
        "Acme",
        "acm\u{e9}",
        "\u{430}cme",
        &long,
    ] {
        let refused = ada
            .post(ORGANISATIONS, json!({ "name": "x", "slug": slug }))
            .await;
        refused.assert_field("slug");
    }
    let long = "a".repeat(101);
    for name in ["", " ", "a\nb", "visit https://evil.example", "a@b", &long] {
        let refused = ada
            .post(ORGANISATIONS, json!({ "name": name, "slug": "acme" }))
            .await;
        refused.assert_field("name");
    }
    ada.new_organisation("acme").await;
    let taken = eve
        .post(ORGANISATIONS, json!({ "name": "x", "slug": "acme" }))
        .await;
    taken.assert_problem(409, "slug_taken");
    ada.new_organisation("second").await;
    let third = json!({ "name": "x", "slug": "third" });
    let refused = ada.post(ORGANISATIONS, third.clone()).await;
    refused.assert_problem(409, "too_many_organisations");
    // Nothing is left of what was refused.
    eve.post(ORGANISATIONS, third).await.assert_status(201);
}

#[tokio::test]
async fn a_deleted_organisation_is_restored_by_an_owner_or_purged_after_its_time() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let grace = app.join(&ada, "acme", "grace", "admin").await;
    let path = format!("{ORGANISATIONS}/acme");
    let restore = format!("{ORGANISATIONS}/{acme}/restore");
    let refused = grace.delete(&path, Some(proof())).await;
    refused.assert_problem(403, "permission_denied");
    let wrong = json!({ "password": "not the password of ada" });
    ada.delete(&path, Some(wrong))
        .await
        .assert_field("password");
    let nothing = ada.post(&restore, json!({})).await;
    nothing.assert_problem(404, "not_found");
    ada.delete(&path, Some(proof())).await.assert_status(204);
    let email = app.email_to("ada@example.com").await;
    assert!(email.text.contains("has deleted"), "{}", email.text);
    let again = ada.delete(&path, Some(proof())).await;
    again.assert_problem(404, "not_found");
    let listed = ada.get(ORGANISATIONS).await;
    assert!(listed.body["items"][0]["deleted_at"].is_string());
    assert_eq!(grace.get(ORGANISATIONS).await.body["items"], json!([]));

    let refused = grace.post(&restore, json!({})).await;
    refused.assert_problem(404, "not_found");
    ada.post(&restore, json!({})).await.assert_status(200);
    grace.get(&path).await.assert_status(200);

    ada.delete(&path, Some(proof())).await.assert_status(204);
    app.run_jobs().await;
    app.clock.advance(31 * DAY);
    let ada = app.log_in("ada@example.com").await;
    let late = ada.post(&restore, json!({})).await;
    late.assert_problem(404, "not_found");
    purge(&app).await;
    let left = "SELECT count(*) FROM accounts WHERE kind = 'organisation'";
    let left: i64 = sqlx::query_scalar(left)
        .fetch_one(&app.owner_db)
        .await
        .expect("it is counted");
    assert_eq!((left, app.audited("organisation_purged").await), (0, 1));
    ada.new_organisation("acme").await;
}

#[tokio::test]
async fn an_organisation_that_has_paid_keeps_its_books_and_loses_its_name() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let user = ada.user_id().await;
    let sql = format!(
        "INSERT INTO payments (id, user_id, account_id, amount, currency, status, created_at, updated_at)
         VALUES (gen_random_uuid(), '{user}', '{acme}', 100, 'USD', 'succeeded', now(), now())"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .execute(&app.owner_db)
        .await
        .expect("it is written");
    let deleted = ada
        .delete(&format!("{ORGANISATIONS}/acme"), Some(proof()))
        .await;
    deleted.assert_status(204);
    app.clock.advance(31 * DAY);
    for _ in 0..2 {
        purge(&app).await;
    }
    let sql =
        "SELECT name, (SELECT count(*) FROM payments) FROM accounts WHERE kind = 'organisation'";
    let row: (String, i64) = sqlx::query_as(sql)
        .fetch_one(&app.owner_db)
        .await
        .expect("the account is there");
    assert_eq!(row, ("-".to_owned(), 1));
    assert_eq!(app.audited("organisation_purged").await, 1);
}

async fn purge(app: &TestApp) {
    job_queue::enqueue(&app.state.db, &PurgeOrganisations::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
}
