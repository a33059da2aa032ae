//! Reports of errors: what arrives, what never does, and that nobody waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use groundwork_dev::SentrySink;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tokio::net::TcpListener;

use crate::harness::{PASSWORD, TestApp};
use crate::process::{Server, with};

/// Makes every look at one's own account fail in a way that nobody foresaw.
async fn break_accounts(app: &TestApp) {
    app.owner()
        .await
        .execute("ALTER TABLE users RENAME COLUMN first_name TO given_name")
        .await
        .expect("the column is there");
}

/// Signs somebody in at a running process; answers the access token and the account's id.
async fn sign_in(app: &TestApp, server: &Server) -> (String, String) {
    let email = app.sign_up("ada").await;
    let body = json!({ "email": email, "password": PASSWORD });
    let (status, tokens) = server
        .call(Method::POST, "/api/v1/auth/login", None, Some(body))
        .await;
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["access_token"].as_str().expect("there is a token");
    let (_, me) = server
        .call(Method::GET, "/api/v1/users/me", Some(token), None)
        .await;
    let id = me["id"].as_str().expect("there is an id");
    (token.to_owned(), id.to_owned())
}

#[tokio::test]
async fn a_500_is_reported_with_what_identifies_it_and_nothing_personal() {
    let app = TestApp::new().await;
    let sink = SentrySink::start().await;
    let settings = with(
        &app.settings,
        &[
            ("SENTRY_DSN", &sink.dsn()),
            ("SENTRY_TRACES_SAMPLE_RATE", "1"),
            ("APP_VERSION", "9.8.7"),
        ],
    );
    let mut server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let (token, id) = sign_in(&app, &server).await;
    break_accounts(&app).await;
    let answer = reqwest::Client::new()
        .get(format!(
            "{}api/v1/users/me?token=hunter2-query",
            server.root
        ))
        .bearer_auth(&token)
        .header("cookie", "session=hunter2-cookie")
        .header("x-csrf-token", "hunter2-csrf")
        .header("x-forwarded-for", "203.0.113.7")
        .header("user-agent", "hunter2-agent")
        .send()
        .await
        .expect("it answers");
    assert_eq!(answer.status(), 500);
    let request_id = answer.headers()["x-request-id"]
        .to_str()
        .expect("it is text")
        .to_owned();
    server.call(Method::GET, "/health/live", None, None).await;

    let event = sink
        .wait_for_event(|event| event["tags"]["route"] == "/api/v1/users/me")
        .await;
    let body = &event.body;
    assert_eq!(body["release"], "groundwork@9.8.7");
    assert_eq!(body["environment"], "development");
    assert_eq!(body["transaction"], "GET /api/v1/users/me");
    assert_eq!(body["tags"]["request_id"], request_id.as_str());
    assert_eq!(body["tags"]["method"], "GET");
    assert_eq!(body["user"], json!({ "id": id }));
    let line = server
        .wait_for_line(|line| line["request_id"] == request_id.as_str())
        .await;
    assert_eq!(body["contexts"]["trace"]["trace_id"], line["trace_id"]);
    let exception = &body["exception"]["values"][0];
    assert!(
        exception["value"]
            .as_str()
            .is_some_and(|text| text.contains("first_name")),
        "{exception}"
    );

    server.terminate().await;
    assert_eq!(server.ended().await, Some(0), "{}", server.written());
    let transactions = sink.transactions();
    let names: Vec<&Value> = transactions
        .iter()
        .map(|item| &item.body["transaction"])
        .collect();
    assert!(
        names.contains(&&json!("POST /api/v1/auth/login")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.to_string().contains("health")),
        "{names:?}"
    );
    for item in sink.items() {
        for secret in [
            "hunter2",
            PASSWORD,
            &token,
            "example.com",
            "203.0.113.7",
            "127.0.0.1:",
            "Bearer",
            "cookie",
        ] {
            assert!(
                !item.body.to_string().contains(secret),
                "{secret} is in {}",
                item.body
            );
        }
    }
}

#[tokio::test]
async fn a_sentry_that_never_answers_costs_neither_latency_nor_the_shutdown() {
    let app = TestApp::new().await;
    let hole = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let dsn = format!(
        "http://public@{}/1",
        hole.local_addr().expect("it has an address")
    );
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let swallow = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = hole.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            kept.push(stream);
        }
    });
    let settings = with(
        &app.settings,
        &[("SENTRY_DSN", &dsn), ("SENTRY_TRACES_SAMPLE_RATE", "1")],
    );
    let mut server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let (token, _) = sign_in(&app, &server).await;
    break_accounts(&app).await;

    // More than the queue holds.
    let began = Instant::now();
    for _ in 0..150 {
        let (status, _) = server
            .call(Method::GET, "/api/v1/users/me", Some(&token), None)
            .await;
        assert_eq!(status, 500);
    }
    let took = began.elapsed();
    assert!(
        took < Duration::from_mins(1),
        "150 failures took {took:?}, as if they waited for their reports"
    );
    assert!(
        connections.load(Ordering::SeqCst) > 0,
        "nothing was ever sent"
    );

    let began = Instant::now();
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0), "{}", server.written());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "the end took {took:?}");
    swallow.abort();
}
