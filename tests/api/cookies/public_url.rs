//! Serving below the path of `PUBLIC_URL`, at its port, and by the names of a development machine.

use reqwest::Method;
use serde_json::json;

use super::client::{self, Browser, LOGIN, ME, set_cookies};
use crate::harness::{PASSWORD, TestApp};

const BELOW: &str = "https://127.0.0.1/app";

fn text(answer: &crate::harness::Answer) -> String {
    String::from_utf8(answer.bytes.clone()).expect("it is text")
}

#[tokio::test]
async fn below_a_path_each_route_is_served_whether_the_proxy_strips_it_or_not() {
    let app = TestApp::with(&[("PUBLIC_URL", BELOW)]).await;
    for path in [
        "/health/live",
        "/.well-known/jwks.json",
        "/verify-email",
        "/reset-password?token=x",
        "/unlock",
        "/assets/link-page.css",
        "/assets/link-page.js",
        "/docs/",
        "/api/openapi.json",
        "/api/v1/pricing",
        "/",
        "/start/status",
        "/assets/start-page.js",
    ] {
        for base in ["", "/app"] {
            let answer = app.get(&format!("{base}{path}")).await;
            answer.assert_status(200);
        }
    }
    for path in [
        "/app",
        "/app/nowhere",
        "/app/app/health/live",
        "/application/docs/",
    ] {
        app.get(path).await.assert_problem(404, "not_found");
    }
    let refused = app.get("/app/api/v1/users/me").await;
    refused.assert_problem(401, "unauthenticated");
    let answer = app
        .replica
        .call(Method::PUT, "/app/api/v1/pricing", None, None)
        .await;
    answer.assert_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn pages_docs_and_links_point_below_the_path() {
    let app = TestApp::with(&[("PUBLIC_URL", BELOW)]).await;
    for path in ["/app/verify-email", "/app/reset-password", "/app/unlock"] {
        let page = text(&app.get(path).await);
        for absolute in ["href=\"/", "src=\"/", "endpoint=\"/"] {
            assert!(!page.contains(absolute), "{path}: {page}");
        }
    }
    for base in ["", "/app"] {
        let sent = app.get(&format!("{base}/docs")).await;
        sent.assert_status(303);
        assert_eq!(sent.headers["location"], "/app/docs/");
        let script = text(
            &app.get(&format!("{base}/docs/swagger-initializer.js"))
                .await,
        );
        assert!(script.contains("\"/app/api/openapi.json\""), "{script}");
        let document = app.get(&format!("{base}/api/openapi.json")).await.body;
        assert_eq!(document["servers"], json!([{ "url": "/app" }]));
    }
    app.register("ada@example.com").await;
    let message = app.email_to("ada@example.com").await;
    let link = message.links().remove(0);
    assert!(
        link.as_str()
            .starts_with("https://127.0.0.1/app/verify-email"),
        "{link}"
    );
    let session = {
        let token = message.token().expect("it has a token");
        let path = "/app/api/v1/auth/verify-email";
        app.post(path, json!({ "token": token }))
            .await
            .assert_status(204);
        app.log_in("ada@example.com").await
    };
    let me = session.get("/app/api/v1/users/me").await;
    me.assert_status(200);
    // The route is metered and limited as any other.
    assert!(me.headers.contains_key("ratelimit"));
}

#[tokio::test]
async fn cookies_of_a_service_below_a_path_have_its_path_and_name() {
    let app = TestApp::with(&[("PUBLIC_URL", BELOW)]).await;
    let email = app.sign_up("ada").await;
    let mut page = Browser::new(&app.replica, "https://127.0.0.1");
    let below = |path: &str| format!("/app{path}");
    let body = json!({ "email": email, "password": PASSWORD, "transport": "cookie" });
    let answer = page.send(Method::POST, &below(LOGIN), Some(body)).await;
    answer.assert_status(200);
    page.csrf = answer.body["csrf_token"].as_str().map(str::to_owned);
    let lines = set_cookies(&answer).join("\n");
    assert!(
        lines.contains("__Host-access.app=") && lines.contains("; Path=/;"),
        "{lines}"
    );
    assert!(lines.contains("__Secure-refresh.app="), "{lines}");
    assert!(lines.contains("; Path=/app/api/v1/auth;"), "{lines}");

    page.get(&below(ME)).await.assert_status(200);
    let name = Some(json!({ "first_name": "Ada" }));
    page.send(Method::PATCH, &below(ME), name)
        .await
        .assert_status(200);
    let refresh = below("/api/v1/auth/refresh");
    page.send(Method::POST, &refresh, None)
        .await
        .assert_status(200);
    // Another product at the root of the host, and its cookies.
    page.more = format!("{}=x; {}=y; access=z", client::ACCESS, client::REFRESH);
    page.get(&below(ME)).await.assert_status(200);
    page.send(Method::POST, &refresh, None)
        .await
        .assert_status(200);
    let logout = below("/api/v1/auth/logout");
    page.send(Method::POST, &logout, None)
        .await
        .assert_status(204);
    assert!(page.jar.is_empty());
}

#[tokio::test]
async fn a_redirect_to_https_goes_to_the_public_url_with_its_port_and_path() {
    let app = TestApp::new().await;
    let secure = app
        .another_replica_with(&[
            ("PUBLIC_URL", "https://127.0.0.1:8443/app"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
            ("ALLOWED_HOSTS", "*.example.com"),
        ])
        .await;
    for host in [
        "127.0.0.1",
        "127.0.0.1:8000",
        "www.example.com",
        "www.example.com:80",
    ] {
        for path in ["/assets/link-page.css?a=b", "/app/assets/link-page.css?a=b"] {
            let request = secure.request(Method::GET, path);
            let request = request
                .header("host", host)
                .header("x-forwarded-proto", "http");
            let sent = secure.send(&Method::GET, path, request).await;
            sent.assert_status(308);
            let location = "https://127.0.0.1:8443/app/assets/link-page.css?a=b";
            assert_eq!(sent.headers["location"], location, "{host}");
        }
    }
}

#[tokio::test]
async fn two_services_on_one_machine_keep_their_cookies_apart() {
    let app = TestApp::new().await;
    let at = async |port: &str| {
        let url = format!("http://127.0.0.1:{port}");
        app.another_replica_with(&[("PUBLIC_URL", &url)]).await
    };
    let (one, other) = (at("8000").await, at("8001").await);
    let mut browser = Browser::new(&one, "http://127.0.0.1:8000");
    let ada = app.sign_up("ada").await;
    let grace = app.sign_up("grace").await;
    browser.sign_in(&ada).await.assert_status(200);
    let names: Vec<_> = browser.jar.keys().cloned().collect();
    assert_eq!(names, ["access-8000", "refresh-8000"]);
    // The same jar, since cookies have no ports.
    browser.replica = other;
    browser.headers = vec![("origin", "http://127.0.0.1:8001".to_owned())];
    let csrf = browser.csrf.clone();
    browser.sign_in(&grace).await.assert_status(200);
    assert_eq!(browser.jar.len(), 4);
    assert_eq!(browser.get(ME).await.body["email"], grace);
    browser.log_out().await.assert_status(204);
    browser.replica = one;
    browser.headers = vec![("origin", "http://127.0.0.1:8000".to_owned())];
    browser.csrf = csrf;
    assert_eq!(browser.get(ME).await.body["email"], ada);
    browser.rename("Ada").await.assert_status(200);
    browser.refresh().await.assert_status(200);
}

#[tokio::test]
async fn in_development_the_names_of_this_machine_stand_for_each_other() {
    let app = TestApp::new().await;
    let at = async |url| app.another_replica_with(&[("PUBLIC_URL", url)]).await;
    let email = app.sign_up("ada").await;
    for public_url in [
        "http://127.0.0.1:8000",
        "http://localhost:8000",
        "http://[::1]:8000",
    ] {
        let replica = at(public_url).await;
        for name in ["127.0.0.1", "localhost", "[::1]"] {
            let request = replica.request(Method::GET, "/docs/");
            let request = request.header("host", format!("{name}:8000"));
            let answer = replica.send(&Method::GET, "/docs/", request).await;
            answer.assert_status(200);
            let mut page = Browser::new(&replica, &format!("http://{name}:8000"));
            page.sign_in(&email).await.assert_status(200);
            page.rename("Ada").await.assert_status(200);
        }
        for stranger in [
            "http://localhost:8001",
            "https://localhost:8000",
            "http://evil.example",
        ] {
            let mut page = Browser::new(&replica, stranger);
            let answer = page.sign_in(&email).await;
            answer.assert_problem(403, "csrf_refused");
        }
    }
    let elsewhere = at("http://dev.example.com").await;
    let production = app
        .another_replica_with(&[
            ("APP_ENV", "production"),
            ("PUBLIC_URL", "https://127.0.0.1"),
        ])
        .await;
    for replica in [&elsewhere, &production] {
        let request = replica.request(Method::GET, ME).header("host", "localhost");
        let answer = replica.send(&Method::GET, ME, request).await;
        answer.assert_problem(421, "misdirected_request");
    }
}
