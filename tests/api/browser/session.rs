//! Signing in by cookies from pages in a real browser: one that is listed, and one that is not.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::chromium::Browser;
use crate::harness::{PASSWORD, TestApp};

/// Serves an empty page and answers where, until the test ends.
pub async fn page() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let addr = listener.local_addr().expect("it has an address");
    let page = Router::new().route("/", get(async || Html("<!doctype html><title>x</title>")));
    tokio::spawn(async move { axum::serve(listener, page).await });
    format!("http://{addr}/").parse().expect("it is a URL")
}

/// Has the page call the service: the status and the body, or the error that scripts see.
pub async fn call(
    browser: &Browser,
    app: &TestApp,
    method: &str,
    path: &str,
    more: Value,
) -> Value {
    let url = app.replica.root.join(path).expect("it is a path");
    let script = "
        const [url, method, more] = given;
        const reply = await fetch(url, { method, credentials: 'include', ...more });
        const text = await reply.text();
        return { status: reply.status, body: text ? JSON.parse(text) : null };
    ";
    let arguments = vec![json!(url), json!(method), more];
    browser.run(script, arguments).await
}

pub fn json_body(body: &Value, csrf: Option<&str>) -> Value {
    let mut headers = json!({ "content-type": "application/json" });
    if let Some(csrf) = csrf {
        headers["x-csrf-token"] = csrf.into();
    }
    json!({ "headers": headers, "body": body.to_string() })
}

#[tokio::test]
async fn a_listed_page_signs_in_and_changes_things_and_another_cannot() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let (listed, stranger) = (page().await, page().await);
    let origin = listed.origin().ascii_serialization();
    let app = TestApp::with(&[("ALLOWED_ORIGINS", &origin)]).await;
    let email = app.sign_up("ada").await;
    let me = "/api/v1/users/me";
    let sign_in = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
    let rename = json!({ "first_name": "Ada" });

    browser.open(listed.clone()).await;
    let login = "/api/v1/auth/login";
    let answer = call(&browser, &app, "POST", login, json_body(&sign_in, None)).await;
    assert_eq!(answer["status"], 200, "{answer}");
    let csrf = answer["body"]["csrf_token"].as_str().expect("a token");
    let visible = browser.run("return document.cookie;", vec![]).await;
    assert_eq!(visible, "", "no script reads the cookies");

    let answer = call(&browser, &app, "GET", me, json!({})).await;
    assert_eq!(answer["body"]["email"], email.as_str(), "{answer}");
    let answer = call(&browser, &app, "PATCH", me, json_body(&rename, None)).await;
    assert_eq!(answer["body"]["code"], "csrf_refused", "{answer}");
    let answer = call(&browser, &app, "PATCH", me, json_body(&rename, Some(csrf))).await;
    assert_eq!(answer["body"]["first_name"], "Ada", "{answer}");
    let header = json!({ "headers": { "x-csrf-token": csrf } });
    let refresh = "/api/v1/auth/refresh";
    let answer = call(&browser, &app, "POST", refresh, header.clone()).await;
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(answer["body"]["csrf_token"], csrf, "{answer}");

    // A neighbour on the same host: browsers send it the same cookies, and that is all it gets.
    browser.open(stranger).await;
    let logout = "/api/v1/auth/logout";
    for (method, path, more) in [
        ("GET", me, json!({})),
        ("GET", "/api/v1/auth/csrf", json!({})),
        (
            "PATCH",
            me,
            json_body(&json!({ "first_name": "Mallory" }), Some(csrf)),
        ),
        ("POST", logout, header.clone()),
        ("POST", logout, json!({})),
        ("POST", refresh, json!({})),
        ("POST", login, json_body(&sign_in, None)),
    ] {
        let answer = call(&browser, &app, method, path, more).await;
        assert!(answer["error"].is_string(), "{method} {path}: {answer}");
    }
    // Without a look at the answer, what a form can send goes through to the service.
    for path in [logout, refresh, login] {
        let blind = json!({ "mode": "no-cors", "body": sign_in.to_string() });
        call(&browser, &app, "POST", path, blind).await;
        let blind = json!({ "mode": "no-cors" });
        call(&browser, &app, "POST", path, blind).await;
    }

    browser.open(listed).await;
    let answer = call(&browser, &app, "GET", me, json!({})).await;
    assert_eq!(answer["body"]["first_name"], "Ada", "{answer}");
    assert_eq!(app.audited("signed_in").await, 1);
    let answer = call(&browser, &app, "GET", "/api/v1/auth/csrf", json!({})).await;
    assert_eq!(answer["body"]["csrf_token"], csrf, "{answer}");
    let answer = call(&browser, &app, "POST", logout, header).await;
    assert_eq!(answer["status"], 204, "{answer}");
    let answer = call(&browser, &app, "GET", me, json!({})).await;
    assert_eq!(answer["status"], 401, "{answer}");
    browser.close().await;
}
