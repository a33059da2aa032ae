//! Where everybody must have a second factor.

use groundwork::app;
use reqwest::Method;
use serde_json::{Value, json};

use super::{CONFIRM, MFA, Owner, TOTP, begin};
use crate::harness::{PASSWORD, TestApp};

const ME: &str = "/api/v1/users/me";
const KEYS: &str = "/api/v1/api-keys";
const AUDIT_LOG: &str = "/api/v1/audit-log";

/// What is open without a second factor.
const OPEN: [(&str, &str); 8] = [
    ("GET", ME),
    ("GET", "/api/v1/users/me/consents"),
    ("PUT", "/api/v1/users/me/consents"),
    ("GET", MFA),
    ("POST", TOTP),
    ("POST", CONFIRM),
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/logout-all"),
];

async fn start() -> TestApp {
    TestApp::with(&[("MFA_REQUIRED", "all")]).await
}

/// The operations of the document that take an access token and nothing less.
fn signed_in_operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    let paths = document["paths"].as_object().expect("there are paths");
    let mut found = Vec::new();
    for (path, item) in paths {
        for (method, spec) in item.as_object().expect("it has methods") {
            let ways = spec["security"].as_array().into_iter().flatten();
            let (mut bearer, mut less) = (false, false);
            for way in ways {
                bearer |= way.get("bearer").is_some();
                less |= way == &json!({}) || way.get("refresh_cookie").is_some();
            }
            if bearer && !less {
                let method = method.to_uppercase().parse().expect("it is a method");
                found.push((method, path.clone()));
            }
        }
    }
    found
}

impl Owner {
    async fn turn_off(&self, app: &TestApp) {
        let body = json!({ "password": PASSWORD, "code": self.app.code(app) });
        self.session.remove(body).await.assert_status(204);
        app.run_jobs().await;
    }
}

#[tokio::test]
async fn without_one_nothing_is_open_but_what_turns_one_on() {
    let app = start().await;
    let ada = app.sign_in("ada").await;
    let mut closed = 0;
    for (method, path) in signed_in_operations() {
        let is_open = OPEN.contains(&(method.as_str(), &*path));
        if is_open {
            continue;
        }
        let path = path.replace("{id}", "01980b6e-7c00-7000-8000-3f2a51d6c9b1");
        let token = Some(ada.access());
        // Refused before anything of the request is read.
        let answer = app
            .replica
            .call(method, &path, token, Some(json!([1])))
            .await;
        answer.assert_problem(403, "mfa_required");
        closed += 1;
    }
    assert!(closed >= 15, "only {closed} routes are closed");
    for (method, path) in OPEN {
        let method: Method = method.parse().expect("it is a method");
        let session = app.log_in("ada@example.com").await;
        let token = Some(session.access());
        let answer = app.replica.call(method, path, token, Some(json!({}))).await;
        assert_ne!(answer.body["code"], "mfa_required", "{path}");
    }
    let session = app.log_in("ada@example.com").await;
    session.get("/api/v1/auth/csrf").await.assert_status(200);
    let answer = app.replica.refresh(session.refresh_token()).await;
    answer.assert_status(200);
}

#[tokio::test]
async fn enabling_one_takes_effect_at_once_on_every_replica() {
    let app = start().await;
    let other = app.another_replica_with(&[("MFA_REQUIRED", "all")]).await;
    let ada = app.sign_in("ada").await;
    let at_other = async |path: &str| {
        let token = Some(ada.access());
        other.call(Method::GET, path, token, None).await
    };
    at_other(AUDIT_LOG)
        .await
        .assert_problem(403, "mfa_required");
    ada.get(AUDIT_LOG).await.assert_problem(403, "mfa_required");
    let authenticator = begin(&ada).await;
    ada.get(AUDIT_LOG).await.assert_problem(403, "mfa_required");
    let body = json!({ "code": authenticator.code(&app) });
    ada.post(CONFIRM, body).await.assert_status(200);
    ada.get(AUDIT_LOG).await.assert_status(200);
    at_other(AUDIT_LOG).await.assert_status(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn disabling_it_takes_effect_at_once() {
    let app = start().await;
    let ada = app.enrol("ada").await;
    ada.session.get(AUDIT_LOG).await.assert_status(200);
    ada.turn_off(&app).await;
    let answer = ada.session.get(AUDIT_LOG).await;
    answer.assert_problem(403, "mfa_required");
    ada.session.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn an_enabled_one_is_cached_for_a_while() {
    let app = start().await;
    let ada = app.enrol("ada").await;
    ada.session.get(AUDIT_LOG).await.assert_status(200);
    // By a hand that tells nobody: it is believed to be there for as long as it is kept.
    let delete = "DELETE FROM mfa_factors";
    sqlx::raw_sql(delete)
        .execute(&app.owner_db)
        .await
        .expect("it is deleted");
    ada.session.get(AUDIT_LOG).await.assert_status(200);
    app.clock.advance(std::time::Duration::from_secs(10));
    let answer = ada.session.get(AUDIT_LOG).await;
    answer.assert_problem(403, "mfa_required");
}

#[tokio::test]
async fn a_key_works_on_and_takes_a_factor_to_make() {
    let app = start().await;
    let ada = app.enrol("ada").await;
    let key = ada.new_key(&["read"], 0).await;
    ada.turn_off(&app).await;
    let get = async |path: &str| {
        let key = Some(key.text.as_str());
        app.replica.call(Method::GET, path, key, None).await
    };
    get("/api/v1/usage/current").await.assert_status(200);
    let body = json!({ "name": "CI", "scopes": ["read"], "password": PASSWORD });
    let answer = ada.session.post(KEYS, body).await;
    answer.assert_problem(403, "mfa_required");
}

#[tokio::test]
async fn administrators_are_among_all() {
    let app = start().await;
    let root = app.sign_in_admin("root").await;
    let users = "/api/v1/admin/users";
    root.get(users).await.assert_problem(403, "mfa_required");
    let authenticator = begin(&root).await;
    let body = json!({ "code": authenticator.code(&app) });
    root.post(CONFIRM, body).await.assert_status(200);
    let answer = root.get(users).await;
    answer.assert_status(200);
    assert!(matches!(answer.body["items"], Value::Array(_)));
    app.run_jobs().await;
}
