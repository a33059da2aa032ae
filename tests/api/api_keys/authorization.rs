//! Which routes accept API keys, by scope, form and place.

use std::time::Duration;

use clock::Clock;
use groundwork::app;
use reqwest::Method;
use serde_json::{Value, json};

use super::{KEYS, Key, ME};
use crate::harness::{Answer, Replica, TestApp};
use crate::process::{Server, with};

/// Operation of the document with security requirements.
struct Operation {
    method: Method,
    path: String,
    /// The scope for it, where it takes a key.
    scope: Option<String>,
    /// Without the session middleware: public, or authenticated by the refresh cookie. To such a route a key is an
    /// unknown token, and it is called without a body, which might have credentials.
    is_outside: bool,
    body: Option<Value>,
}

impl Operation {
    fn all() -> Vec<Self> {
        let document = serde_json::to_value(app::openapi()).expect("it is JSON");
        let paths = document["paths"].as_object().expect("there are paths");
        let mut found = Vec::new();
        for (path, item) in paths {
            for (method, spec) in item.as_object().expect("it has methods") {
                let Some(ways) = spec["security"].as_array() else {
                    continue;
                };
                let key = ways.iter().find_map(|way| way.get("api_key"));
                let scope = key.map(|scopes| scopes[0].as_str().expect("it names its scope"));
                found.push(Self {
                    method: method.to_uppercase().parse().expect("it is a method"),
                    path: path.clone(),
                    scope: scope.map(str::to_owned),
                    is_outside: ways
                        .iter()
                        .any(|way| way == &json!({}) || way.get("refresh_cookie").is_some()),
                    body: example(spec).cloned(),
                });
            }
        }
        found
    }

    async fn call(&self, replica: &Replica, key: &Key) -> Answer {
        let id = "01980b6e-7c00-7000-8000-3f2a51d6c9b1";
        let path = self.path.replace("{id}", id).replace("{name}", "NAME");
        replica
            .call(
                self.method.clone(),
                &path,
                Some(&key.text),
                self.body.clone().filter(|_| !self.is_outside),
            )
            .await
    }
}

/// The example of an operation's body, or the first of several.
fn example(spec: &Value) -> Option<&Value> {
    let content = spec.pointer("/requestBody/content/application~1json")?;
    let several = content["examples"].as_object();
    let first = several.and_then(|examples| examples.values().next());
    content
        .get("example")
        .or_else(|| first.map(|example| &example["value"]))
}

/// Every scope, as the document lists them.
fn scopes() -> Vec<String> {
    let document = serde_json::to_value(app::openapi()).expect("it is JSON");
    let names = document["components"]["schemas"]["Scope"]["enum"]
        .as_array()
        .cloned();
    let names = names.expect("they are listed").into_iter();
    names
        .map(|name| name.as_str().expect("it is text").to_owned())
        .collect()
}

fn room() -> [(&'static str, &'static str); 1] {
    [("API_KEY_MAX_COUNT", "100")]
}

#[tokio::test]
async fn every_route_takes_a_key_or_says_that_it_takes_a_person() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let all = scopes();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let key = ada.new_key(&all).await;
    let operations = Operation::all();
    assert!(operations.len() > 8, "the document has none");
    let (mut taken, mut refused) = (0, 0);
    for operation in &operations {
        let answer = operation.call(&app.replica, &key).await;
        let place = format!("{} {}: {}", operation.method, operation.path, answer.body);
        if operation.scope.is_some() {
            taken += 1;
            let code = &answer.body["code"];
            assert!(answer.status != 401, "{place}");
            assert!(
                code != "session_required" && code != "insufficient_scope",
                "{place}"
            );
        } else if operation.is_outside {
            assert!(!answer.status.is_success(), "{place}");
        } else {
            refused += 1;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["code"]),
                (403, &json!("session_required")),
                "{place}"
            );
        }
    }
    assert!(
        taken >= 2 && refused >= 9,
        "{taken} take a key, {refused} do not"
    );
    for (method, path) in [
        (Method::POST, "/api/v1/auth/logout-all"),
        (Method::POST, KEYS),
        (Method::POST, "/api/v1/users/me/password"),
    ] {
        let of = operations
            .iter()
            .find(|operation| operation.method == method && operation.path == path);
        assert!(
            of.is_some_and(|operation| operation.scope.is_none()),
            "{path}"
        );
    }
    assert!(ada.is_signed_in().await && key.opens(&app.replica).await);
    app.run_jobs().await;
}

#[tokio::test]
async fn each_scope_opens_what_it_names_and_nothing_else() {
    let app = TestApp::with(&room()).await;
    let ada = app.sign_in("ada").await;
    let operations: Vec<_> = Operation::all()
        .into_iter()
        .filter(|operation| operation.scope.is_some())
        .collect();
    for scope in scopes() {
        let key = ada.new_key(&[&scope]).await;
        for operation in &operations {
            let wanted = operation.scope.as_deref().expect("it takes a key");
            let access = wanted.rsplit(':').next().expect("it has an access");
            let answer = operation.call(&app.replica, &key).await;
            let place = format!(
                "{scope} at {} {}: {}",
                operation.method, operation.path, answer.body
            );
            if scope == wanted || scope == access {
                assert!(
                    answer.body["code"] != "insufficient_scope" && answer.status != 401,
                    "{place}"
                );
            } else {
                assert_eq!(
                    (answer.status.as_u16(), &answer.body["code"]),
                    (403, &json!("insufficient_scope")),
                    "{place}"
                );
                let reported = format!("Bearer error=\"insufficient_scope\", scope=\"{wanted}\"");
                assert_eq!(
                    answer.headers["www-authenticate"],
                    reported.as_str(),
                    "{place}"
                );
            }
        }
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn a_key_changes_what_its_scope_allows_and_the_log_names_it() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["users:write"]).await;
    let patch = |body: Value| {
        app.replica
            .call(Method::PATCH, ME, Some(&key.text), Some(body))
    };
    patch(json!({ "first_name": "Ada" }))
        .await
        .assert_status(200);
    patch(json!({ "role": "admin" })).await.assert_field("role");
    key.get(&app.replica, ME)
        .await
        .assert_problem(403, "insufficient_scope");
    assert_eq!(ada.get(ME).await.body["first_name"], "Ada");
    let named: String = sqlx::query_scalar(
        "SELECT detail->>'api_key' FROM audit_log WHERE event = 'profile_changed'",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it is logged");
    assert_eq!(named, key.id);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_refusal_for_want_of_a_scope_is_logged_once_a_minute() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let keys = [
        ada.new_key(&["files:read"]).await,
        ada.new_key(&["events:write"]).await,
    ];
    for logged in [2, 4] {
        for key in keys.iter().chain(&keys) {
            key.get(&app.replica, ME)
                .await
                .assert_problem(403, "insufficient_scope");
        }
        assert_eq!(app.audited("api_key_refused").await, logged);
        app.clock.advance(Duration::from_mins(1));
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn what_is_not_quite_a_key_is_refused() {
    let app = TestApp::new().await;
    let (ada, grace) = (app.sign_in("ada").await, app.sign_in("grace").await);
    let (key, other) = (ada.new_key(&["read"]).await, grace.new_key(&["read"]).await);
    let parts: Vec<_> = key.text.split('_').collect();
    let foreign: Vec<_> = other.text.split('_').collect();
    let swapped = |at: usize| {
        let text = &key.text;
        let with = if text[at..].starts_with('a') {
            "b"
        } else {
            "a"
        };
        format!("{}{with}{}", &text[..at], &text[at + 1..])
    };
    let bad = [
        String::new(),
        "gw_test_".to_owned(),
        "gw_test__".to_owned(),
        parts[3].to_owned(),
        key.text[..key.text.len() - 1].to_owned(),
        format!("{}0", key.text),
        format!("{} ", key.text) + "x",
        key.text.to_uppercase(),
        key.text.replacen("_test_", "_live_", 1),
        key.text.replacen('_', "-", 1),
        swapped(9),
        swapped(40),
        swapped(key.text.len() - 1),
        [parts[0], parts[1], parts[2], foreign[3]].join("_"),
        [parts[0], parts[1], foreign[2], parts[3]].join("_"),
        "gw_test_0000000000000000000000_".to_owned() + &"0".repeat(49),
        "a_".repeat(8_000),
    ];
    for text in bad {
        let answer = app.replica.call(Method::GET, ME, Some(&text), None).await;
        answer.assert_problem(401, "unauthenticated");
    }
    assert!(key.opens(&app.replica).await && other.opens(&app.replica).await);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_key_of_another_environment_is_refused_even_by_a_copy_of_its_database() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["read"]).await;
    let production = app
        .another_replica_with(&[
            ("APP_ENV", "production"),
            ("PUBLIC_URL", "https://127.0.0.1"),
            ("TRUSTED_PROXIES", "127.0.0.0/8"),
            ("JWT_ISSUER", "http://127.0.0.1"),
            ("JWT_AUDIENCE", "http://127.0.0.1"),
        ])
        .await;
    for (token, status) in [(ada.access(), 200), (&key.text, 401)] {
        let request = production
            .request(Method::GET, ME)
            .header("x-forwarded-proto", "https")
            .bearer_auth(token);
        let answer = production.send(&Method::GET, ME, request).await;
        answer.assert_status(status);
    }
    app.run_jobs().await;
}

#[tokio::test]
async fn a_key_is_good_in_the_authorization_header_alone_and_only_as_a_key() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["read", "write"]).await;
    for name in ["key", "api_key", "access_token", "token"] {
        let path = format!("{ME}?{name}={}", key.text);
        let answer = app.get(&path).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    for (name, value) in [
        ("x-api-key", key.text.clone()),
        ("cookie", format!("__Host-access={}", key.text)),
        ("authorization", format!("Basic {}", key.text)),
        ("authorization", key.text.clone()),
    ] {
        let request = app.replica.request(Method::GET, ME).header(name, value);
        let answer = app.replica.send(&Method::GET, ME, request).await;
        answer.assert_problem(401, "unauthenticated");
    }
    let twice = app
        .replica
        .request(Method::GET, ME)
        .bearer_auth(&key.text)
        .header("authorization", format!("Bearer {}", key.text));
    app.replica
        .send(&Method::GET, ME, twice)
        .await
        .assert_problem(401, "unauthenticated");

    let refreshed = app.replica.refresh(&key.text).await;
    assert!(
        matches!(refreshed.status.as_u16(), 401 | 422),
        "{}",
        refreshed.body
    );
    let logout = app
        .replica
        .call(Method::POST, "/api/v1/auth/logout", Some(&key.text), None)
        .await;
    assert!(
        matches!(logout.status.as_u16(), 401 | 403),
        "{}",
        logout.body
    );
    let proof = json!({ "token": key.text });
    app.post("/api/v1/auth/verify-email", proof)
        .await
        .assert_status(422);
    assert!(ada.is_signed_in().await && key.opens(&app.replica).await);
    app.run_jobs().await;
}

#[tokio::test]
async fn the_key_of_a_disabled_account_is_rejected() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["read"]).await;
    let set = async |change: &str| {
        let sql = format!("UPDATE users SET {change}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut app.owner().await)
            .await
            .expect("it is changed");
    };
    set("disabled_at = now()").await;
    key.get(&app.replica, ME)
        .await
        .assert_problem(403, "account_disabled");
    let mut wrong = key.text.clone();
    wrong.truncate(wrong.len() - 1);
    app.replica
        .call(Method::GET, ME, Some(&wrong), None)
        .await
        .assert_problem(401, "unauthenticated");
    set("disabled_at = NULL").await;
    assert!(key.opens(&app.replica).await);
    set("email_verified_at = NULL").await;
    assert!(!key.opens(&app.replica).await);
    set("email_verified_at = now(), deleted_at = now()").await;
    assert!(!key.opens(&app.replica).await);
    app.run_jobs().await;
}

#[tokio::test]
async fn no_secret_of_a_key_is_stored_or_written_and_its_last_use_outlives_the_process() {
    let app = TestApp::new().await;
    let behind = Clock::system().now() - app.clock.now();
    app.clock.advance(behind.to_std().expect("it is behind"));
    let ada = app.sign_in("ada").await;
    let key = ada.new_key(&["users:read"]).await;
    let settings = with(&app.settings, &[("LOG_LEVEL", "debug")]);
    let mut server = Server::start(&settings, &["serve", "--no-worker"]).await;
    let call =
        async |method: Method, path: &str| server.call(method, path, Some(&key.text), None).await.0;
    assert_eq!(call(Method::GET, ME).await, 200);
    assert_eq!(call(Method::POST, "/api/v1/users/me/password").await, 403);
    assert_eq!(call(Method::GET, KEYS).await, 403);
    assert_eq!(
        server
            .call(Method::GET, &format!("{ME}?key={}", key.text), None, None)
            .await
            .0,
        401
    );
    server.terminate().await;
    assert_eq!(server.ended().await, Some(0));
    let written = server.written();
    assert!(
        !written.contains(key.secret()) && !written.contains(&key.text),
        "{written}"
    );

    let row: String = sqlx::query_scalar("SELECT row_to_json(k)::text FROM api_keys AS k")
        .fetch_one(&app.owner_db)
        .await
        .expect("it is there");
    assert!(
        !row.contains(&key.secret()[..20]) && !row.contains(&key.text),
        "{row}"
    );
    let logged: Vec<String> = sqlx::query_scalar("SELECT row_to_json(l)::text FROM audit_log AS l")
        .fetch_all(&app.owner_db)
        .await
        .expect("it is there");
    assert!(
        logged
            .iter()
            .all(|entry| !entry.contains(&key.secret()[..20]))
    );
    let queued: Vec<String> =
        sqlx::query_scalar("SELECT row_to_json(j)::text FROM graphile_worker._private_jobs AS j")
            .fetch_all(&app.owner_db)
            .await
            .expect("it is there");
    assert!(!queued.is_empty() && queued.iter().all(|job| !job.contains(&key.secret()[..20])));
    assert!(
        ada.keys().await[0]["last_used_at"].is_string(),
        "SIGTERM lost it"
    );
    app.run_jobs().await;
}
