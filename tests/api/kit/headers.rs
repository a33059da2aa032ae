//! What every reply says to browsers, and whose browsers may call.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;

use super::{LOGIN, ME, NOWHERE};
use crate::harness::{PASSWORD, Replica, TestApp};

const SAME: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "0"),
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

fn assert_guarded(headers: &HeaderMap, what: &str) {
    for (name, value) in SAME {
        let lines: Vec<_> = headers.get_all(*name).iter().collect();
        assert_eq!(lines, [value], "{name} of {what}");
    }
    assert!(
        headers["permissions-policy"]
            .to_str()
            .expect("it is text")
            .contains("camera=()"),
        "{what}"
    );
    assert!(headers.contains_key("x-request-id"), "{what}");
    assert!(
        !headers.contains_key("server") && !headers.contains_key("x-powered-by"),
        "{what}"
    );
}

#[tokio::test]
async fn every_reply_carries_the_security_headers_whatever_answered() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let replies = async |replica: &Replica| {
        let me = replica
            .call(Method::GET, ME, Some(ada.access()), None)
            .await;
        vec![
            (200, me),
            (401, replica.get_with(ME, &[]).await),
            (404, replica.get_with(NOWHERE, &[]).await),
            (405, replica.get_with(LOGIN, &[]).await),
            (413, replica.post_text(LOGIN, &" ".repeat(100_000)).await),
            (415, replica.ask(Method::POST, LOGIN, &[], Some("{}")).await),
            (421, replica.get_with(ME, &[("host", "evil.example")]).await),
            (422, replica.post_text(LOGIN, "{}").await),
        ]
    };
    for (status, reply) in replies(&app.replica).await {
        reply.assert_status(status);
        assert_guarded(&reply.headers, &status.to_string());
        assert!(
            !reply.headers.contains_key("strict-transport-security"),
            "nothing is pinned to https over http"
        );
    }
    let issuer = [
        ("PUBLIC_URL", "https://127.0.0.1"),
        ("JWT_ISSUER", "http://127.0.0.1"),
        ("JWT_AUDIENCE", "http://127.0.0.1"),
    ];
    let secure = app.another_replica_with(&issuer).await;
    for (status, reply) in replies(&secure).await {
        reply.assert_status(status);
        assert_guarded(&reply.headers, &status.to_string());
        assert_eq!(
            reply.headers["strict-transport-security"], "max-age=63072000; includeSubDomains",
            "{status}"
        );
    }
}

#[tokio::test]
async fn an_unexpected_error_is_a_problem_without_details() {
    let app = TestApp::new().await;
    let hidden = "ALTER TABLE users RENAME COLUMN password_hash TO elsewhere";
    sqlx::raw_sql(hidden)
        .execute(&mut app.owner().await)
        .await
        .expect("it is renamed");
    let answer = app
        .post(
            LOGIN,
            json!({ "email": "ada@example.com", "password": PASSWORD }),
        )
        .await;
    answer.assert_problem(500, "internal");
    assert_guarded(&answer.headers, "500");
    assert!(answer.body.get("detail").is_none() && answer.body.get("errors").is_none());
    assert!(
        !String::from_utf8_lossy(&answer.bytes).contains("password"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn browsers_are_let_in_from_listed_origins_alone() {
    let app = TestApp::with(&[(
        "ALLOWED_ORIGINS",
        "https://www.example.com,https://admin.example.com",
    )])
    .await;
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ];
        app.replica.ask(Method::OPTIONS, ME, &headers, None).await
    };
    for origin in ["https://www.example.com", "https://admin.example.com"] {
        let allowed = preflight(origin).await;
        allowed.assert_status(200);
        assert_eq!(allowed.headers["access-control-allow-origin"], origin);
        assert_eq!(allowed.headers["access-control-allow-credentials"], "true");
        let methods = allowed.headers["access-control-allow-methods"]
            .to_str()
            .expect("it is text");
        assert!(methods.contains("PATCH"), "{methods}");
        let names = allowed.headers["access-control-allow-headers"]
            .to_str()
            .expect("it is text");
        assert!(
            names.contains("authorization") && names.contains("content-type"),
            "{names}"
        );
        assert!(
            allowed.headers["vary"]
                .to_str()
                .expect("it is text")
                .contains("origin")
        );
        // A page must be able to read why it was refused.
        let refused = app.replica.get_with(ME, &[("origin", origin)]).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(refused.headers["access-control-allow-origin"], origin);
        assert!(
            refused
                .headers
                .contains_key("access-control-expose-headers")
        );
    }
    for origin in [
        "https://evil.example",
        "http://www.example.com",
        "https://www.example.com.evil.example",
        "null",
        "https://www.example.com:8443",
    ] {
        assert!(
            !preflight(origin)
                .await
                .headers
                .contains_key("access-control-allow-origin"),
            "{origin}"
        );
        let answer = app.replica.get_with("/health", &[("origin", origin)]).await;
        assert!(
            !answer.headers.contains_key("access-control-allow-origin"),
            "{origin}"
        );
    }
}

#[tokio::test]
async fn without_listed_origins_no_browser_is_let_in() {
    let app = TestApp::new().await;
    let answer = app
        .replica
        .get_with("/health", &[("origin", "https://www.example.com")])
        .await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    assert!(
        !answer
            .headers
            .contains_key("access-control-allow-credentials")
    );
}

#[tokio::test]
async fn pages_may_send_and_read_every_header_that_the_document_names() {
    let app = TestApp::with(&[("ALLOWED_ORIGINS", "https://www.example.com")]).await;
    let preflight = async |path: &str, wanted: &str| {
        let headers = [
            ("origin", "https://www.example.com"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", wanted),
        ];
        app.replica.ask(Method::OPTIONS, path, &headers, None).await
    };
    let names = |headers: &HeaderMap, list: &str| -> Vec<String> {
        let text = headers[list].to_str().expect("it is text");
        text.split(',')
            .map(|name| name.trim().to_lowercase())
            .collect()
    };
    let allowed = preflight(ME, "traceparent").await;
    allowed.assert_status(200);
    let allowed = names(&allowed.headers, "access-control-allow-headers");
    // What the tracing of pages adds to each call (W3C, OpenTelemetry, Sentry).
    for name in ["traceparent", "tracestate", "baggage", "sentry-trace"] {
        assert!(allowed.iter().any(|one| one == name), "{name}: {allowed:?}");
    }
    for name in [
        "authorization",
        "content-type",
        "x-csrf-token",
        "x-request-id",
    ] {
        assert!(allowed.iter().any(|one| one == name), "{name}: {allowed:?}");
    }
    assert!(
        !allowed
            .iter()
            .any(|one| one == "*" || one == "x-forwarded-for")
    );

    let answer = app
        .replica
        .get_with("/api/v1/pricing", &[("origin", "https://www.example.com")])
        .await;
    let exposed = names(&answer.headers, "access-control-expose-headers");
    for name in [
        "x-request-id",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
    ] {
        assert!(exposed.iter().any(|one| one == name), "{name}: {exposed:?}");
    }

    let document = serde_json::to_value(groundwork::app::openapi()).expect("it is JSON");
    let paths = document["paths"].as_object().expect("it has paths");
    let operations = paths
        .values()
        .flat_map(|item| item.as_object().expect("it is one").values());
    let (mut sent, mut read) = (0, 0);
    for operation in operations {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "header" {
                let name = parameter["name"].as_str().expect("a name").to_lowercase();
                assert!(allowed.contains(&name), "{name} may not be sent");
                sent += 1;
            }
        }
        for response in operation["responses"].as_object().expect("some").values() {
            for name in response["headers"]
                .as_object()
                .into_iter()
                .flat_map(|all| all.keys())
            {
                assert!(
                    exposed.contains(&name.to_lowercase()),
                    "{name} may not be read"
                );
                read += 1;
            }
        }
    }
    assert!(sent > 0 && read > 0, "the document names some");
}
