//! The account that a request acts for: by header, by path, and by membership.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{ORGANISATIONS, proof};
use crate::harness::{Session, TestApp, given};

const USAGE: &str = "/api/v1/usage/current";
const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_member_acts_for_the_organisation_by_id_or_slug_and_otherwise_for_themselves() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let grace = app.join(&ada, "acme", "grace", "member").await;
    let event = json!({ "type": "report.created" });
    for account in [acme.as_str(), "acme"] {
        let body = Some(event.clone());
        let stored = grace.for_account(account, Method::POST, "/api/v1/events", body);
        stored.await.assert_status(201);
    }
    grace.post("/api/v1/events", event).await.assert_status(201);
    for (session, account, stored) in [
        (&ada, Some("acme"), 2),
        (&ada, None, 0),
        (&grace, Some("acme"), 2),
        (&grace, None, 1),
    ] {
        let usage = match account {
            Some(account) => session.get_for(account, USAGE).await,
            None => session.get(USAGE).await,
        };
        usage.assert_status(200);
        assert_eq!(usage.body["events_used"], stored, "{account:?}");
    }
    let own = grace.user_id().await;
    let usage = grace.get_for(&own, USAGE).await;
    assert_eq!(usage.body["events_used"], 1, "one's own id");
    // A profile is the user's, whatever account is named.
    let me = grace.get_for("acme", "/api/v1/users/me").await;
    assert_eq!(me.body["email"], "grace@example.com");
}

#[tokio::test]
async fn accounts_that_one_is_not_in_are_all_the_same_404() {
    let app = TestApp::new().await;
    let (ada, eve) = (app.sign_in("ada").await, app.sign_in("eve").await);
    let acme = ada.new_organisation("acme").await;
    let gone = ada.new_organisation("gone").await;
    let deleted = ada
        .delete(&format!("{ORGANISATIONS}/gone"), Some(proof()))
        .await;
    deleted.assert_status(204);
    app.run_jobs().await;
    let ada_id = ada.user_id().await;
    let random = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    let mut bodies = Vec::new();
    for account in [
        &acme, "acme", &gone, "gone", &ada_id, "nobodys", "-a", "ADMIN", random,
    ] {
        for path in [USAGE, "/api/v1/users/me", "/api/v1/api-keys"] {
            let mut answer = eve.get_for(account, path).await;
            answer.assert_problem(404, "not_found");
            answer.body["request_id"].take();
            bodies.push(answer.body);
        }
        let mut answer = eve.get(&format!("{ORGANISATIONS}/{account}")).await;
        answer.assert_problem(404, "not_found");
        answer.body["request_id"].take();
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    // The deleted one is gone for its owner as well.
    for account in ["gone", &gone] {
        ada.get_for(account, USAGE)
            .await
            .assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_header_that_names_no_one_account_is_400() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ada.new_organisation("acme").await;
    let long = "a".repeat(10 * 1024);
    for values in [&["acme", "acme"][..], &[""], &[&long], &["a\u{e9}"]] {
        let request = ada.replica.request(Method::GET, USAGE);
        let mut request = request.bearer_auth(ada.access());
        for value in values {
            request = request.header("x-account", *value);
        }
        let answer = ada.replica.send(&Method::GET, USAGE, request).await;
        answer.assert_problem(400, "bad_request");
        assert_eq!(answer.body["errors"][0]["field"], "X-Account");
    }
}

#[tokio::test]
async fn without_organisations_their_routes_are_404_and_the_header_is_refused() {
    let app = TestApp::with(&[("ORGANISATIONS", "off")]).await;
    let ada = app.sign_in("ada").await;
    ada.get_for("acme", USAGE)
        .await
        .assert_problem(400, "bad_request");
    ada.get(USAGE).await.assert_status(200);
    for path in [
        ORGANISATIONS,
        "/api/v1/organisations/acme",
        "/api/v1/invitations",
    ] {
        ada.get(path).await.assert_problem(404, "not_found");
    }
    let document = app.get("/api/openapi.json").await;
    assert!(document.body["paths"]["/api/v1/users/me"].is_object());
    assert!(document.body["paths"][ORGANISATIONS].is_null());
}

#[tokio::test]
async fn a_former_slug_leads_to_the_organisation_for_90_days_and_is_nobody_elses() {
    let app = TestApp::new().await;
    let (ada, eve) = (app.sign_in("ada").await, app.sign_in("eve").await);
    let acme = ada.new_organisation("acme").await;
    let path = format!("{ORGANISATIONS}/acme");
    let renamed = ada.patch(&path, json!({ "slug": "acme-corp" })).await;
    assert_eq!(renamed.body["slug"], "acme-corp");
    ada.get_for("acme", USAGE).await.assert_status(200);
    let moved = ada.get(&format!("{path}/members?limit=5")).await;
    moved.assert_status(308);
    let location = "/api/v1/organisations/acme-corp/members?limit=5";
    assert_eq!(moved.headers["location"], location);
    eve.get(&path).await.assert_problem(404, "not_found");
    let wanted = json!({ "name": "Eve", "slug": "acme" });
    let refused = eve.post(ORGANISATIONS, wanted.clone()).await;
    refused.assert_problem(409, "slug_taken");
    assert_eq!(refused.body["errors"][0]["field"], "slug");
    // It may be taken back, and then the other one is the former slug.
    let own = format!("{ORGANISATIONS}/{acme}");
    let back = ada.patch(&own, json!({ "slug": "acme" })).await;
    assert_eq!(back.body["slug"], "acme");
    let moved = ada.get(&format!("{ORGANISATIONS}/acme-corp")).await;
    moved.assert_status(308);

    let renamed = ada.patch(&path, json!({ "slug": "acme-corp" })).await;
    renamed.assert_status(200);
    app.clock.advance(90 * DAY + Duration::from_secs(1));
    let ada = app.log_in("ada@example.com").await;
    let eve = app.log_in("eve@example.com").await;
    ada.get_for("acme", USAGE)
        .await
        .assert_problem(404, "not_found");
    ada.get(&path).await.assert_problem(404, "not_found");
    // Also before the purge.
    eve.post(ORGANISATIONS, wanted).await.assert_status(201);
    eve.get_for("acme", USAGE).await.assert_status(200);
    ada.get_for("acme-corp", USAGE).await.assert_status(200);
}

#[tokio::test]
async fn a_removed_member_is_refused_by_the_next_request_on_every_replica() {
    let app = TestApp::with(&[("REDIS_URL", &given("TEST_REDIS_URL"))]).await;
    let ada = app.sign_in("ada").await;
    ada.new_organisation("acme").await;
    let grace = app.join(&ada, "acme", "grace", "member").await;
    let other = Session {
        replica: app.another_replica().await,
        tokens: grace.tokens.clone(),
    };
    let cache = other.replica.state.cache.clone();
    let listener =
        AbortOnDropHandle::new(tokio::spawn(cache.clone().listen(CancellationToken::new())));
    while !cache.is_listening() {
        assert!(!listener.is_finished(), "it does not listen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for session in [&grace, &other] {
        session.get_for("acme", USAGE).await.assert_status(200);
    }
    let member = format!("{ORGANISATIONS}/acme/members/{}", grace.user_id().await);
    ada.delete(&member, None).await.assert_status(204);
    grace
        .get_for("acme", USAGE)
        .await
        .assert_problem(404, "not_found");
    let began = Instant::now();
    while other.get_for("acme", USAGE).await.status != 404 {
        assert!(began.elapsed() < Duration::from_secs(1), "still admitted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    grace.get(USAGE).await.assert_status(200);
    let own = grace.get(ORGANISATIONS).await;
    assert_eq!(own.body["items"], json!([]));
    app.run_jobs().await;
}

#[tokio::test]
async fn a_membership_costs_no_statement_for_ten_seconds() {
    let app = TestApp::with(&[("REDIS_URL", &given("TEST_REDIS_URL"))]).await;
    let ada = app.sign_in("ada").await;
    let acme = ada.new_organisation("acme").await;
    let path = "/api/v1/users/me";
    let other = app.another_replica().await;
    let ada = Session {
        replica: other,
        tokens: ada.tokens,
    };
    ada.get_for(&acme, path).await.assert_status(200);
    // A row changed by hand invalidates nothing.
    sqlx::query("UPDATE accounts SET deleted_at = now() WHERE kind = 'organisation'")
        .execute(&app.owner_db)
        .await
        .expect("it is changed");
    ada.get_for(&acme, path).await.assert_status(200);
    app.clock.advance(Duration::from_secs(11));
    ada.get_for(&acme, path)
        .await
        .assert_problem(404, "not_found");
}
