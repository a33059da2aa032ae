//! Calls that another site's page has a browser make: none of them does anything.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{
    ACCESS, APP, Browser, CSRF, HERE, LOGIN, LOGOUT, ME, REFRESH, service, set_cookies,
};
use crate::harness::{Answer, PASSWORD, TestApp};

/// What other sites' pages, and those that hide where they are, have browsers say.
fn strangers() -> Vec<Vec<(&'static str, String)>> {
    let lines: [&[(&'static str, &str)]; 11] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1")],
        &[("origin", "https://127.0.0.1:8443")],
        &[("origin", "https://app.example.com.evil.example")],
        &[("origin", HERE), ("origin", "https://evil.example")],
        &[("origin", APP), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
    ];
    let owned = |lines: &[(&'static str, &str)]| {
        let owned = lines
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        owned.collect()
    };
    lines.map(owned).to_vec()
}

async fn first_name(browser: &Browser) -> Value {
    browser.get(ME).await.body["first_name"].clone()
}

/// Holds that a call was refused as a forgery and that the answer changes no cookie.
#[track_caller]
fn assert_refused(answer: &Answer) {
    answer.assert_problem(403, "csrf_refused");
    assert!(answer.body["detail"].is_string(), "it says what is missing");
    assert_eq!(set_cookies(answer), [""; 0]);
}

/// Every call that changes something by cookie: all are to be refused, and to have no effect.
async fn assert_nothing_works(forged: &Browser) {
    let mut forged = forged.clone();
    assert_refused(&forged.rename("Mallory").await);
    assert_refused(&forged.refresh().await);
    assert_refused(&forged.log_out().await);
    let all = "/api/v1/auth/logout-all";
    assert_refused(&forged.call(Method::POST, all, None).await);
    let id = "/api/v1/auth/sessions/01980b6e-7c00-7000-8000-3f2a51d6c9b1";
    assert_refused(&forged.call(Method::DELETE, id, None).await);
    let password = json!({ "current_password": PASSWORD, "new_password": "another good password" });
    let path = "/api/v1/users/me/password";
    assert_refused(&forged.call(Method::POST, path, Some(password)).await);
}

#[tokio::test]
async fn without_the_sessions_own_token_nothing_changes() {
    let app = service().await;
    let browser = Browser::signed_in(&app, "ada").await;
    let own = browser.csrf.clone().expect("it has a token");
    let foreign = Browser::signed_in(&app, "grace").await.csrf;
    let mut second = Browser::new(&app.replica, HERE);
    second.sign_in("ada@example.com").await.assert_status(200);
    let mut tampered = own.clone();
    tampered.replace_range(..1, if own.starts_with('A') { "B" } else { "A" });
    for wrong in [
        None,
        Some(String::new()),
        Some("x".to_owned()),
        Some(own[..63].to_owned()),
        Some(format!("{own}A")),
        Some(tampered),
        Some(browser.jar[REFRESH].0.clone()),
        foreign,
        second.csrf.clone(),
    ] {
        let mut forged = browser.clone();
        forged.csrf = wrong;
        assert_nothing_works(&forged).await;
        // It need not be known for a look.
        forged.get(ME).await.assert_status(200);
    }
    let twice = browser.request(Method::PATCH, ME);
    let twice = twice
        .header("origin", HERE)
        .header("x-csrf-token", &own)
        .header("x-csrf-token", &own)
        .json(&json!({ "first_name": "Mallory" }));
    assert_refused(&browser.replica.send(&Method::PATCH, ME, twice).await);

    assert_eq!(first_name(&browser).await, Value::Null);
    let mut browser = browser;
    browser.refresh().await.assert_status(200);
    browser.rename("Ada").await.assert_status(200);
}

#[tokio::test]
async fn from_another_sites_page_nothing_changes_even_with_the_token() {
    let app = service().await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    for headers in strangers() {
        let mut forged = browser.clone();
        forged.headers = headers;
        assert_nothing_works(&forged).await;
    }
    assert_eq!(first_name(&browser).await, Value::Null);
    for (name, value) in [("origin", APP), ("sec-fetch-site", "same-origin")] {
        browser.headers = vec![(name, value.to_owned())];
        browser.rename(name).await.assert_status(200);
        browser.refresh().await.assert_status(200);
    }
}

#[tokio::test]
async fn what_a_form_can_send_changes_nothing() {
    let app = service().await;
    let browser = Browser::signed_in(&app, "ada").await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let form = |method: Method, path: &str, csrf: Option<&str>| {
            let mut request = browser
                .request(method, path)
                .header("origin", HERE)
                .header("content-type", kind);
            if let Some(csrf) = csrf {
                request = request.header("x-csrf-token", csrf);
            }
            request
        };
        let send = async |method: Method, path: &str, csrf: Option<&str>, body: String| {
            let request = form(method.clone(), path, csrf).body(body);
            browser.replica.send(&method, path, request).await
        };
        let name = json!({ "first_name": "Mallory" }).to_string();
        // A form has no headers of its own: it falls at the token.
        assert_refused(&send(Method::PATCH, ME, None, name.clone()).await);
        assert_refused(&send(Method::POST, LOGOUT, None, String::new()).await);
        let path = "/api/v1/auth/refresh";
        assert_refused(&send(Method::POST, path, None, String::new()).await);
        // And if it had one, at its kind.
        let csrf = browser.csrf.as_deref();
        send(Method::PATCH, ME, csrf, name)
            .await
            .assert_problem(415, "unsupported_media_type");
        let email = "ada@example.com";
        let body = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
        let answer = send(Method::POST, LOGIN, None, body.to_string()).await;
        answer.assert_problem(415, "unsupported_media_type");
        assert_eq!(set_cookies(&answer), [""; 0]);
    }
    assert_eq!(first_name(&browser).await, Value::Null);
}

#[tokio::test]
async fn nobody_is_signed_in_by_another_sites_page() {
    let app = service().await;
    let email = app.sign_up("mallory").await;
    for headers in strangers() {
        let mut page = Browser::new(&app.replica, HERE);
        page.headers = headers.clone();
        assert_refused(&page.sign_in(&email).await);
        // Tokens in the body do not stick to the reader's browser: they are nobody's business.
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = page.call(Method::POST, LOGIN, Some(body)).await;
        answer.assert_status(200);
        assert_eq!(set_cookies(&answer), [""; 0]);
    }
    assert_eq!(
        sessions_of(&app).await,
        i64::try_from(strangers().len()).unwrap()
    );
}

async fn sessions_of(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM sessions")
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts")
}

#[tokio::test]
async fn a_refresh_cookie_that_a_neighbour_slipped_in_is_not_gone_on_with() {
    let app = service().await;
    let browser = Browser::signed_in(&app, "ada").await;
    let mallory = Browser::signed_in(&app, "mallory").await;
    let mut tossed = browser.clone();
    tossed.set(REFRESH, &mallory.jar[REFRESH].0);
    assert_refused(&tossed.refresh().await);
    // Nor is a used one taken for a theft that would end the neighbour's session.
    mallory.clone().refresh().await.assert_status(200);
    app.clock.advance(std::time::Duration::from_secs(11));
    assert_refused(&tossed.refresh().await);
    assert_eq!(app.audited("refresh_token_reused").await, 0);
    tossed.jar.remove(ACCESS);
    assert_refused(&tossed.log_out().await);
    mallory.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn the_token_is_sent_to_nobody_else() {
    let app = service().await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    browser.headers = vec![("origin", "https://evil.example".to_owned())];
    let answer = browser.get(CSRF).await;
    // The browser keeps the answer from a page that it does not name.
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}
