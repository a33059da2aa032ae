//! Browser mode: a session whose tokens are cookies, and what keeps other sites' pages from using it.

pub mod client;
mod forgery;
mod http_authentication;
mod public_url;

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use self::client::{ACCESS, APP, Browser, HERE, LOGIN, LOGOUT, ME, REFRESH, service};
use crate::harness::{PASSWORD, TestApp};

/// What a refused browser gets: a problem, and the cookies taken back that were refused.
fn taken_back(answer: &crate::harness::Answer) -> Vec<String> {
    let lines = client::set_cookies(answer);
    let gone = lines.iter().filter(|line| line.contains("; Max-Age=0;"));
    gone.filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect()
}

#[tokio::test]
async fn signing_in_sets_two_cookies_and_returns_no_token() {
    let app = service().await;
    let email = app.sign_up("ada").await;
    let mut browser = Browser::new(&app.replica, HERE);
    let answer = browser.sign_in(&email).await;
    answer.assert_status(200);

    let lines = client::set_cookies(&answer);
    let [access, refresh] = lines.as_slice() else {
        panic!("two cookies, not {lines:?}");
    };
    let (access, attributes) = access.split_once("; ").expect("it has attributes");
    assert_eq!(
        attributes,
        "Path=/; Max-Age=900; HttpOnly; SameSite=Strict; Secure"
    );
    let access = access.strip_prefix("__Host-access=").expect("its name");
    assert_eq!(access.split('.').count(), 3, "it is a signed token");
    let (refresh, attributes) = refresh.split_once("; ").expect("it has attributes");
    assert_eq!(
        attributes,
        "Path=/api/v1/auth; Max-Age=1209600; HttpOnly; SameSite=Strict; Secure"
    );
    let refresh = refresh.strip_prefix("__Secure-refresh=").expect("its name");
    assert_eq!(refresh.len(), 112);

    let body = answer.body.as_object().expect("it is an object");
    let names: Vec<_> = body.keys().map(String::as_str).collect();
    assert_eq!(names, ["csrf_token", "expires_in", "refresh_expires_in"]);
    assert_eq!(
        (&body["expires_in"], &body["refresh_expires_in"]),
        (&json!(900), &json!(1_209_600))
    );
    let text = String::from_utf8(answer.bytes).expect("it is text");
    assert!(!text.contains(access) && !text.contains(refresh), "{text}");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn over_plain_http_the_names_are_bare_since_browsers_refuse_the_others() {
    let app = TestApp::new().await;
    let email = app.sign_up("ada").await;
    let mut browser = Browser::new(&app.replica, "http://127.0.0.1");
    let lines = client::set_cookies(&browser.sign_in(&email).await);
    let ends = lines.iter().map(|line| {
        let (cookie, attributes) = line.split_once("; ").expect("it has attributes");
        (cookie.split_once('=').expect("it has a name").0, attributes)
    });
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [
            ("access", "Path=/; Max-Age=900; HttpOnly; SameSite=Strict"),
            (
                "refresh",
                "Path=/api/v1/auth; Max-Age=1209600; HttpOnly; SameSite=Strict"
            ),
        ]
    );
    browser.get(ME).await.assert_status(200);
    browser.rename("Ada").await.assert_status(200);
    browser.refresh().await.assert_status(200);
    browser.log_out().await.assert_status(204);
    assert!(browser.jar.is_empty());
}

#[tokio::test]
async fn without_being_asked_for_cookies_are_never_set() {
    let app = service().await;
    let email = app.sign_up("ada").await;
    for body in [
        json!({ "email": email, "password": PASSWORD }),
        json!({ "email": email, "password": PASSWORD, "transport": "bearer" }),
    ] {
        let browser = Browser::new(&app.replica, HERE);
        let answer = browser.call(Method::POST, LOGIN, Some(body)).await;
        answer.assert_status(200);
        assert_eq!(client::set_cookies(&answer), [""; 0]);
        let token = answer.body["refresh_token"].as_str().expect("a token");
        let answer = app.replica.refresh(token).await;
        answer.assert_status(200);
        assert_eq!(client::set_cookies(&answer), [""; 0]);
    }
    for transport in [json!("cookies"), json!(""), json!(null), json!(["cookie"])] {
        let body = json!({ "email": email, "password": PASSWORD, "transport": transport });
        app.post(LOGIN, body).await.assert_field("transport");
    }
}

#[tokio::test]
async fn a_signed_in_page_reads_freely_and_writes_with_its_token() {
    let app = service().await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    let me = browser.get(ME).await;
    me.assert_status(200);
    assert_eq!(me.body["email"], "ada@example.com");
    let renamed = browser.rename("Augusta").await;
    renamed.assert_status(200);
    assert_eq!(renamed.body["first_name"], "Augusta");
    // Head and options are no more than a look.
    let head = browser.request(Method::HEAD, ME).send().await;
    assert_eq!(head.expect("it answers").status(), 200);

    // A page that was loaded anew asks for the same token again.
    let csrf = browser.csrf.take();
    let asked = browser.get(client::CSRF).await;
    asked.assert_status(200);
    assert_eq!(asked.body, json!({ "csrf_token": csrf }));
}

#[tokio::test]
async fn a_session_goes_on_and_its_token_stays_good() {
    let app = service().await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    let csrf = browser.csrf.clone();
    for _ in 0..3 {
        let before = browser.jar.clone();
        app.clock.advance(Duration::from_mins(16));
        let late = browser.get(ME).await;
        late.assert_problem(401, "unauthenticated");
        assert_eq!(taken_back(&late), [ACCESS]);

        let answer = browser.refresh().await;
        answer.assert_status(200);
        assert_eq!(answer.body["csrf_token"].as_str(), csrf.as_deref());
        assert_eq!(answer.body.get("refresh_token"), None);
        assert_ne!(browser.jar, before, "both cookies are new");
        browser.rename("Ada").await.assert_status(200);
    }
}

#[tokio::test]
async fn a_page_that_slept_gets_its_token_by_the_refresh_cookie_alone() {
    let app = service().await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    let csrf = browser.csrf.take();
    browser.jar.remove(ACCESS);
    let asked = browser.get(client::CSRF).await;
    asked.assert_status(200);
    assert_eq!(asked.body["csrf_token"].as_str(), csrf.as_deref());
    browser.csrf = csrf;
    browser.refresh().await.assert_status(200);
    browser.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn twenty_tabs_that_go_on_at_once_get_the_very_same_cookies() {
    let app = service().await;
    let browser = Browser::signed_in(&app, "ada").await;
    let other = app.another_replica().await;
    let tabs = (0..20).map(|tab| {
        let mut tab_of = browser.clone();
        if tab % 2 == 1 {
            tab_of.replica = other.clone();
        }
        async move { (tab_of.refresh().await, tab_of) }
    });
    let mut successors = Vec::new();
    for (answer, tab) in join_all(tabs).await {
        answer.assert_status(200);
        successors.push(tab.jar[REFRESH].clone());
    }
    successors.dedup();
    assert_eq!(successors.len(), 1, "one chain: {successors:?}");
    assert_ne!(successors[0], browser.jar[REFRESH]);
    let living: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sessions WHERE token_hash IS NOT NULL AND ended_at IS NULL",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it counts");
    assert_eq!(living, 1);
}

#[tokio::test]
async fn signing_out_needs_nothing_but_the_cookies_and_takes_them_back() {
    let app = service().await;
    for kept in [&[ACCESS, REFRESH][..], &[REFRESH], &[ACCESS]] {
        let name = format!("ada{}", kept.join("").len());
        let mut browser = Browser::signed_in(&app, &name).await;
        let before = browser.clone();
        browser
            .jar
            .retain(|cookie, _| kept.contains(&cookie.as_str()));
        let answer = browser.log_out().await;
        answer.assert_status(204);
        assert_eq!(
            client::set_cookies(&answer),
            [
                "__Host-access=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure",
                "__Secure-refresh=; Path=/api/v1/auth; Max-Age=0; HttpOnly; SameSite=Strict; Secure",
            ]
        );
        assert!(browser.jar.is_empty());
        before.get(ME).await.assert_problem(401, "unauthenticated");
        before
            .clone()
            .refresh()
            .await
            .assert_problem(401, "invalid_refresh_token");
        // Once more is no fault: the page wants to be signed out, and is.
        before.clone().log_out().await.assert_status(204);
    }
    assert_eq!(app.audited("signed_out").await, 3);
    app.post(LOGOUT, Value::Null).await.assert_status(422);
    Browser::new(&app.replica, HERE)
        .call(Method::POST, LOGOUT, None)
        .await
        .assert_problem(401, "unauthenticated");
}

#[tokio::test]
async fn whatever_ends_the_session_takes_its_cookies_back() {
    let app = service().await;
    let mut everywhere = Browser::signed_in(&app, "ada").await;
    let answer = everywhere
        .send(Method::POST, "/api/v1/auth/logout-all", None)
        .await;
    answer.assert_status(204);
    assert_eq!(taken_back(&answer).len(), 2);
    assert!(everywhere.jar.is_empty());

    let mut own = Browser::signed_in(&app, "grace").await;
    let sessions = own.get("/api/v1/auth/sessions").await;
    let id = sessions.body["items"][0]["id"].as_str().expect("an id");
    let path = format!("/api/v1/auth/sessions/{id}");
    let answer = own.send(Method::DELETE, &path, None).await;
    answer.assert_status(204);
    assert_eq!(taken_back(&answer).len(), 2);

    // Another session's end is no business of this one's cookies.
    let mut here = Browser::signed_in(&app, "edsger").await;
    let there = app.log_in("edsger@example.com").await;
    let sessions = here.get("/api/v1/auth/sessions").await;
    let items = sessions.body["items"].as_array().expect("a list");
    let other = items.iter().find(|item| item["is_current"] == false);
    let id = other.expect("the other one")["id"].as_str().expect("an id");
    let path = format!("/api/v1/auth/sessions/{id}");
    let answer = here.send(Method::DELETE, &path, None).await;
    answer.assert_status(204);
    assert_eq!(client::set_cookies(&answer), [""; 0]);
    assert!(!there.is_signed_in().await);
    here.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn an_ended_sessions_cookies_are_refused_and_taken_back() {
    let app = service().await;
    let browser = Browser::signed_in(&app, "ada").await;
    let phone = app.log_in("ada@example.com").await;
    phone
        .post("/api/v1/auth/logout-all", json!({}))
        .await
        .assert_status(204);

    let read = browser.get(ME).await;
    read.assert_problem(401, "unauthenticated");
    assert_eq!(taken_back(&read), [ACCESS]);
    let write = browser.clone().rename("Ada").await;
    write.assert_problem(401, "unauthenticated");
    assert_eq!(taken_back(&write), [ACCESS]);
    let refreshed = browser.clone().refresh().await;
    refreshed.assert_problem(401, "invalid_refresh_token");
    assert_eq!(taken_back(&refreshed), [ACCESS, REFRESH]);
    let csrf = browser.get(client::CSRF).await;
    csrf.assert_problem(401, "unauthenticated");
    assert_eq!(taken_back(&csrf), [ACCESS, REFRESH]);
}

#[tokio::test]
async fn a_used_refresh_cookie_ends_the_session_after_the_grace() {
    let app = service().await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    let mut thief = browser.clone();
    browser.refresh().await.assert_status(200);
    app.clock.advance(Duration::from_secs(11));
    thief
        .refresh()
        .await
        .assert_problem(401, "invalid_refresh_token");
    assert!(thief.jar.is_empty());
    browser.get(ME).await.assert_problem(401, "unauthenticated");
    assert_eq!(app.audited("refresh_token_reused").await, 1);
}

#[tokio::test]
async fn a_header_is_all_that_counts_where_there_is_one() {
    let app = service().await;
    let ada = Browser::signed_in(&app, "ada").await;
    let grace = app.sign_in("grace").await;
    let with_header = |method: Method, path: &str, header: String| {
        let request = ada.request(method, path).header("authorization", header);
        request.header("origin", "https://evil.example")
    };
    let send = async |method: Method, path: &str, header: String, body: Option<Value>| {
        let mut request = with_header(method.clone(), path, header);
        if let Some(body) = body {
            request = request.json(&body);
        }
        ada.replica.send(&method, path, request).await
    };
    let bearer = format!("Bearer {}", grace.access());
    let me = send(Method::GET, ME, bearer.clone(), None).await;
    assert_eq!(me.body["email"], "grace@example.com");
    // A bearer call needs no token and no origin.
    let name = Some(json!({ "first_name": "Grace" }));
    let renamed = send(Method::PATCH, ME, bearer.clone(), name).await;
    renamed.assert_status(200);
    assert_eq!(renamed.body["email"], "grace@example.com");
    // A bad header is not made good by a good cookie.
    for bad in ["Bearer x", "Bearer", "bearer "] {
        let refused = send(Method::GET, ME, bad.to_owned(), None).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(client::set_cookies(&refused), [""; 0]);
        send(Method::POST, LOGOUT, bad.to_owned(), None)
            .await
            .assert_problem(401, "unauthenticated");
    }
    // Signing out by the header leaves the cookies' session alone.
    let answer = send(Method::POST, LOGOUT, bearer, None).await;
    answer.assert_status(204);
    assert_eq!(client::set_cookies(&answer), [""; 0]);
    assert!(!grace.is_signed_in().await);
    ada.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn a_token_in_the_body_is_all_that_counts_where_there_is_one() {
    let app = service().await;
    let ada = Browser::signed_in(&app, "ada").await;
    let grace = app.sign_in("grace").await;
    let body = json!({ "refresh_token": grace.refresh_token() });
    let mut tokenless = ada.clone();
    tokenless.csrf = None;
    let path = "/api/v1/auth/refresh";
    let refreshed = tokenless.call(Method::POST, path, Some(body)).await;
    refreshed.assert_status(200);
    assert_eq!(client::set_cookies(&refreshed), [""; 0]);
    let next = refreshed.body["refresh_token"].as_str().expect("a token");
    let body = json!({ "refresh_token": next });
    let answer = tokenless.call(Method::POST, LOGOUT, Some(body)).await;
    answer.assert_status(204);
    assert_eq!(client::set_cookies(&answer), [""; 0]);
    assert!(!grace.is_signed_in().await);
    ada.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn signing_in_again_ends_the_earlier_session_of_the_browser() {
    let app = service().await;
    let email = app.sign_up("grace").await;
    let elsewhere = app.log_in(&email).await;
    let mut browser = Browser::signed_in(&app, "ada").await;
    for _ in 0..2 {
        let before = browser.clone();
        browser.sign_in(&email).await.assert_status(200);
        let me = browser.get(ME).await;
        assert_eq!(me.body["email"], "grace@example.com");
        before.get(ME).await.assert_problem(401, "unauthenticated");
        before
            .clone()
            .refresh()
            .await
            .assert_problem(401, "invalid_refresh_token");
    }
    assert_eq!(app.audited("signed_out").await, 2);
    assert!(elsewhere.is_signed_in().await, "other devices go on");

    // A wrong password leaves things as they are, and so does a sign-in that sets no cookies.
    let wrong = json!({ "email": email, "password": "wrong", "transport": "cookie" });
    browser
        .call(Method::POST, LOGIN, Some(wrong))
        .await
        .assert_problem(401, "invalid_credentials");
    let body = json!({ "email": email, "password": PASSWORD });
    let answer = browser.call(Method::POST, LOGIN, Some(body)).await;
    answer.assert_status(200);
    browser.get(ME).await.assert_status(200);
}

#[tokio::test]
async fn each_token_is_refused_in_the_others_cookie() {
    let app = service().await;
    let browser = Browser::signed_in(&app, "ada").await;
    let access = browser.jar[ACCESS].0.clone();
    let refresh = browser.jar[REFRESH].0.clone();
    let csrf = browser.csrf.clone().expect("it has a token");

    for wrong in [refresh.as_str(), csrf.as_str(), "", "x", "..", "null"] {
        let mut mixed = browser.clone();
        mixed.set(ACCESS, wrong);
        mixed.get(ME).await.assert_problem(401, "unauthenticated");
        mixed
            .rename("Ada")
            .await
            .assert_problem(401, "unauthenticated");
    }
    for wrong in [access.as_str(), csrf.as_str(), "", "x", &"A".repeat(43)] {
        let mut mixed = browser.clone();
        mixed.set(REFRESH, wrong);
        let refused = mixed.refresh().await;
        refused.assert_problem(401, "invalid_refresh_token");
        assert_eq!(taken_back(&refused).len(), 2);
    }
    // A cookie that is there twice is neither of the two.
    let mut twice = browser.clone();
    twice.more = format!("{ACCESS}={access}");
    twice.get(ME).await.assert_problem(401, "unauthenticated");
    let mut twice = browser.clone();
    twice.more = format!("{REFRESH}={refresh}");
    twice
        .refresh()
        .await
        .assert_problem(401, "invalid_refresh_token");

    browser.get(ME).await.assert_status(200);
    browser.clone().refresh().await.assert_status(200);
}

#[tokio::test]
async fn no_browser_is_asked_for_credentials() {
    let app = service().await;
    let browser = Browser::new(&app.replica, HERE);
    let answer = browser.clone().refresh().await;
    answer.assert_problem(401, "invalid_refresh_token");
    let answer = browser.get(client::CSRF).await;
    answer.assert_problem(401, "unauthenticated");
    assert_eq!(client::set_cookies(&answer), [""; 0]);
}

#[tokio::test]
async fn a_page_of_a_listed_origin_reads_its_answers() {
    let app = service().await;
    let email = app.sign_up("ada").await;
    let mut page = Browser::new(&app.replica, APP);
    let answer = page.sign_in(&email).await;
    answer.assert_status(200);
    assert_eq!(answer.headers["access-control-allow-origin"], APP);
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    page.rename("Ada").await.assert_status(200);

    let preflight = app
        .replica
        .request(Method::OPTIONS, ME)
        .header("origin", APP)
        .header("access-control-request-method", "PATCH")
        .header(
            "access-control-request-headers",
            "content-type,x-csrf-token",
        );
    let preflight = app.replica.send(&Method::OPTIONS, ME, preflight).await;
    preflight.assert_status(200);
    let allowed = preflight.headers["access-control-allow-headers"]
        .to_str()
        .expect("it is text");
    assert!(allowed.contains("x-csrf-token"), "{allowed}");
}
