//! A site behind the HTTP authentication of its proxy: browsers add its `Authorization` header to
//! each call.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{self, Browser, CSRF, LOGOUT, ME, service};
use crate::harness::{Answer, TestApp};

/// Schemes of a proxy, and values that are no credentials of ours.
const FOREIGN: [&str; 7] = [
    "Basic c3RhZ2luZzpzZWNyZXQ=",
    "basic c3RhZ2luZzpzZWNyZXQ=",
    "Digest username=\"staging\", response=\"Bearer\"",
    "Negotiate YIIB",
    "Basic c3RhZ2luZw==, Bearer x",
    "x",
    "",
];

/// A page of a staging site in which somebody has signed in.
async fn staging(app: &TestApp, name: &str, authorization: &str) -> Browser {
    let mut browser = Browser::signed_in(app, name).await;
    let header = ("authorization", authorization.to_owned());
    browser.headers.push(header);
    browser
}

async fn call(app: &TestApp, lines: &[&str], method: Method, path: &str) -> Answer {
    let mut request = app.replica.request(method.clone(), path);
    for line in lines {
        request = request.header("authorization", *line);
    }
    app.replica.send(&method, path, request).await
}

#[tokio::test]
async fn basic_auth_of_a_proxy_does_not_replace_the_session_cookies() {
    let app = service().await;
    for (number, foreign) in FOREIGN.into_iter().enumerate() {
        let mut page = staging(&app, &format!("ada{number}"), foreign).await;
        page.get(ME).await.assert_status(200);
        let csrf = page.get(CSRF).await;
        csrf.assert_status(200);
        assert_eq!(csrf.body["csrf_token"].as_str(), page.csrf.as_deref());
        page.rename("Ada").await.assert_status(200);
        page.refresh().await.assert_status(200);
        let answer = page.log_out().await;
        answer.assert_status(204);
        assert_eq!(client::set_cookies(&answer).len(), 2, "{foreign:?}");
        assert!(page.jar.is_empty(), "{foreign:?}");
    }
}

#[tokio::test]
async fn signing_in_again_behind_basic_auth_ends_the_session_before() {
    let app = service().await;
    let mut page = staging(&app, "ada", FOREIGN[0]).await;
    let before = page.clone();
    page.sign_in("ada@example.com").await.assert_status(200);
    page.get(ME).await.assert_status(200);
    before.get(ME).await.assert_problem(401, "unauthenticated");
}

/// Changes what a page sends.
type Forge = fn(&mut Browser);

#[tokio::test]
async fn csrf_rules_apply_to_cookies_behind_basic_auth() {
    let app = service().await;
    for (number, foreign) in FOREIGN.into_iter().enumerate() {
        let page = staging(&app, &format!("ada{number}"), foreign).await;
        let name = json!({ "first_name": "Eve" });
        let refused: [(&str, Forge); 3] = [
            ("no token", |page| page.csrf = None),
            ("another token", |page| page.csrf = Some("x".repeat(64))),
            ("another site", |page| {
                page.headers[0] = ("origin", "https://evil.example".to_owned());
            }),
        ];
        for (why, forge) in refused {
            let mut forged = page.clone();
            forge(&mut forged);
            let answer = forged.call(Method::PATCH, ME, Some(name.clone())).await;
            assert_eq!(answer.body["code"], "csrf_refused", "{why}: {foreign:?}");
            let answer = forged.call(Method::POST, LOGOUT, None).await;
            assert_eq!(answer.body["code"], "csrf_refused", "{why}: {foreign:?}");
        }
        let me = page.get(ME).await;
        assert_eq!(me.body["first_name"], Value::Null, "{foreign:?}");
    }
}

#[tokio::test]
async fn a_foreign_scheme_without_cookies_is_a_missing_credential() {
    let app = service().await;
    for path in [ME, CSRF, "/api/v1/events"] {
        let method = if path.ends_with("events") {
            Method::POST
        } else {
            Method::GET
        };
        for foreign in FOREIGN {
            let answer = call(&app, &[foreign], method.clone(), path).await;
            answer.assert_problem(401, "unauthenticated");
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{foreign:?}");
        }
    }
    let two = call(&app, &[FOREIGN[0], FOREIGN[3]], Method::GET, ME).await;
    assert_eq!(two.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn a_malformed_bearer_header_is_refused_beside_good_cookies() {
    let app = service().await;
    let ada = Browser::signed_in(&app, "ada").await;
    let token = app.log_in("ada@example.com").await;
    let good = format!("Bearer {}", token.access());
    for lines in [
        &["Bearer"][..],
        &["bearer "],
        &["BEARER x"],
        &[&good, &good],
        &[&good, FOREIGN[0]],
        &[FOREIGN[0], &good],
    ] {
        let mut request = ada.request(Method::GET, ME);
        for line in lines {
            request = request.header("authorization", *line);
        }
        let answer = ada.replica.send(&Method::GET, ME, request).await;
        answer.assert_problem(401, "unauthenticated");
        let challenge = "Bearer error=\"invalid_token\"";
        assert_eq!(answer.headers["www-authenticate"], challenge, "{lines:?}");
    }
    // The scheme is case-insensitive (RFC 9110 §11.1).
    let lower = good.replace("Bearer", "bearer");
    let answer = call(&app, &[&lower], Method::GET, ME).await;
    answer.assert_status(200);
}

#[tokio::test]
async fn an_api_key_beside_basic_auth_is_refused() {
    let app = service().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["read"]).await;
    let bearer = format!("Bearer {}", key.text);
    let answer = call(&app, &[&bearer], Method::GET, ME).await;
    answer.assert_status(200);
    for lines in [
        [FOREIGN[0], &bearer],
        [&bearer, FOREIGN[0]],
        [&bearer, &bearer],
    ] {
        let answer = call(&app, &lines, Method::GET, ME).await;
        answer.assert_problem(401, "unauthenticated");
    }
    app.run_jobs().await;
}
