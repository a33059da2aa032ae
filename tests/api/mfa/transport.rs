//! How the tokens travel that a second step answers with.

use reqwest::Method;
use serde_json::{Value, json};

use super::{LOGIN, LOGIN_MFA};
use crate::harness::{Answer, PASSWORD, TestApp};

const OWN: &str = "http://127.0.0.1";

impl TestApp {
    async fn post_from(&self, path: &str, origin: Option<&str>, body: Value) -> Answer {
        let mut request = self.replica.request(Method::POST, path).json(&body);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        self.replica.send(&Method::POST, path, request).await
    }
}

#[tokio::test]
async fn cookies_that_were_asked_for_with_the_password_come_with_the_code() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let body = json!({ "email": ada.email, "password": PASSWORD, "transport": "cookie" });
    let asked = app.post_from(LOGIN, Some(OWN), body).await;
    asked.assert_status(202);
    assert!(!asked.headers.contains_key("set-cookie"));

    // A stranger's page signs nobody in, and uses up nothing by trying.
    let code = ada.app.code(&app);
    let body = json!({ "mfa_token": asked.body["mfa_token"], "code": code });
    for origin in [None, Some("https://evil.example.com"), Some("null")] {
        for _ in 0..3 {
            let answer = app.post_from(LOGIN_MFA, origin, body.clone()).await;
            answer.assert_problem(403, "csrf_refused");
            assert!(!answer.headers.contains_key("set-cookie"));
        }
    }
    let answer = app.post_from(LOGIN_MFA, Some(OWN), body).await;
    answer.assert_status(200);
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert!(answer.body["csrf_token"].is_string());
    assert_eq!(answer.body["access_token"], Value::Null);
    assert_eq!(answer.body["refresh_token"], Value::Null);
}

#[tokio::test]
async fn without_being_asked_for_there_are_no_cookies_wherever_the_code_comes_from() {
    let app = TestApp::new().await;
    let ada = app.enrol("ada").await;
    let token = app.ask(&ada.email).await;
    let body = json!({ "mfa_token": token, "code": ada.app.code(&app) });
    let answer = app.post_from(LOGIN_MFA, Some(OWN), body).await;
    answer.assert_status(200);
    assert!(!answer.headers.contains_key("set-cookie"));
    assert!(answer.body["access_token"].is_string());
}
