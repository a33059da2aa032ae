//! Commands of a release on one host: smoke checks, the synthetic account, notes, and the comparison of metrics.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::routing::post;
use axum::{Json, Router};
use groundwork_dev::SentrySink;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{PASSWORD, TestApp};
use crate::process::{Settings, run, run_with, stderr, stdout, with};

const SYNTHETIC: &str = "smoke-check@synthetic.invalid";

async fn create_synthetic(app: &TestApp) {
    let args = ["users", "create-synthetic"];
    let output = run_with(&app.settings, &args, PASSWORD).await;
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Runs the smoke checks of the test's replica; returns whether they passed, and what was printed.
async fn smoke(
    app: &TestApp,
    settings: &Settings,
    version: &str,
    password: &str,
) -> (bool, String) {
    let root = app.replica.root.as_str();
    let args = ["release", "smoke", "--url", root, "--version", version];
    let output = run_with(settings, &args, password).await;
    let printed = stdout(&output) + &stderr(&output);
    assert!(!printed.contains(PASSWORD), "the password is printed");
    (output.status.success(), printed)
}

#[tokio::test]
async fn the_smoke_checks_pass_on_a_healthy_replica_and_name_the_first_fault() {
    let app = TestApp::with(&[("DOCS_ENABLED", "false")]).await;
    let version = app.state.version.to_string();
    let (passed, printed) = smoke(&app, &app.settings, &version, PASSWORD).await;
    assert!(
        !passed && printed.contains("/auth/login replied with 401"),
        "{printed}"
    );

    create_synthetic(&app).await;
    let (passed, printed) = smoke(&app, &app.settings, &version, PASSWORD).await;
    assert!(
        passed && printed.contains("passed: readiness, version, sign-in"),
        "{printed}"
    );
    let sessions = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    let left: i64 = sqlx::query_scalar(sessions)
        .fetch_one(&app.owner_db)
        .await
        .expect("it is counted");
    assert_eq!(left, 0, "the checks leave a session");

    let with_docs = with(&app.settings, &[("DOCS_ENABLED", "true")]);
    for (settings, version, password, fault) in [
        (&app.settings, "9.9.9", PASSWORD, "instead of \"9.9.9\""),
        (
            &app.settings,
            &version,
            "wrong",
            "/auth/login replied with 401",
        ),
        (
            &with_docs,
            &version,
            PASSWORD,
            "/api/openapi.json replied with 404 instead of 200",
        ),
    ] {
        let (passed, printed) = smoke(&app, settings, version, password).await;
        assert!(!passed && printed.contains(fault), "{fault}: {printed}");
    }
    app.replica.draining.begin();
    let (passed, printed) = smoke(&app, &app.settings, &version, PASSWORD).await;
    assert!(
        !passed && printed.contains("/health/ready replied with 503"),
        "{printed}"
    );
    let args = [
        "release",
        "smoke",
        "--url",
        "http://127.0.0.1:1",
        "--version",
        "1",
    ];
    let output = run(&app.settings, &args).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no reply to /health/ready"));
}

#[tokio::test]
async fn documentation_that_should_be_absent_fails_the_smoke_checks() {
    let app = TestApp::with(&[("DOCS_ENABLED", "true")]).await;
    create_synthetic(&app).await;
    let version = app.state.version.to_string();
    let (passed, printed) = smoke(&app, &app.settings, &version, PASSWORD).await;
    assert!(passed, "{printed}");
    let without = with(&app.settings, &[("DOCS_ENABLED", "false")]);
    let (passed, printed) = smoke(&app, &without, &version, PASSWORD).await;
    assert!(
        !passed && printed.contains("replied with 200 instead of 404"),
        "{printed}"
    );
}

#[tokio::test]
async fn the_synthetic_account_reads_and_changes_nothing() {
    let app = TestApp::new().await;
    create_synthetic(&app).await;
    create_synthetic(&app).await;
    assert_eq!(app.audited("created_by_operator").await, 1);
    let session = app.log_in(SYNTHETIC).await;
    session.get("/api/v1/users/me").await.assert_status(200);
    session.get("/api/v1/api-keys").await.assert_status(200);

    let change = json!({ "first_name": "Eve" });
    let refused = session.patch("/api/v1/users/me", change.clone()).await;
    refused.assert_problem(403, "forbidden");
    let key = json!({ "name": "key", "scopes": ["users:read"], "password": PASSWORD });
    let refused = session.post("/api/v1/api-keys", key).await;
    refused.assert_problem(403, "forbidden");
    let everywhere = session.post("/api/v1/auth/logout-all", json!({})).await;
    everywhere.assert_problem(403, "forbidden");
    // A person can.
    let ada = app.sign_in("ada").await;
    ada.patch("/api/v1/users/me", change)
        .await
        .assert_status(200);
    session
        .post(
            "/api/v1/auth/logout",
            json!({ "refresh_token": session.refresh_token() }),
        )
        .await
        .assert_status(204);
}

#[tokio::test]
async fn the_synthetic_account_is_no_customer_and_gets_no_email() {
    let app = TestApp::new().await;
    let root = app.sign_in_admin("root").await;
    let stats = async || root.get("/api/v1/admin/stats").await.body;
    let before = stats().await;
    create_synthetic(&app).await;
    let after = stats().await;
    assert_eq!(before["accounts"], after["accounts"]);
    assert_eq!(before["sign_ups"], after["sign_ups"]);
    let found = root.get("/api/v1/admin/users?search=smoke-check").await;
    assert_eq!(found.body["items"][0]["email"], SYNTHETIC);

    let forgotten = json!({ "email": SYNTHETIC });
    app.post("/api/v1/auth/forgot-password", forgotten)
        .await
        .assert_status(202);
    app.run_jobs().await;
    assert!(app.inbox.emails_to(SYNTHETIC).is_empty());
}

/// An Alertmanager that keeps what it gets, and its address.
async fn alertmanager() -> (Arc<Mutex<Vec<Value>>>, String) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&taken);
    let take = async move |Json(alerts): Json<Value>| {
        keep.lock().expect("nobody panicked").push(alerts);
    };
    let router = Router::new().route("/api/v2/alerts", post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (taken, format!("http://{address}"))
}

#[tokio::test]
async fn a_note_reaches_sentry_and_the_receivers_of_alerts() {
    let sink = SentrySink::start().await;
    let (taken, address) = alertmanager().await;
    let settings = Settings::from([("SENTRY_DSN".to_owned(), sink.dsn())]);
    let note = async |outcome: &str, address: &str| {
        let args = [
            "release",
            "note",
            "--outcome",
            outcome,
            "--release",
            "1.5.0",
            "--before",
            "1.4.2",
            "--reason",
            "2.1 % of replies are 5xx",
            "--alertmanager",
            address,
        ];
        run(&settings, &args).await
    };
    for (outcome, level, alert, severity) in [
        ("rolled-back", "warning", "ReleaseFailed", "critical"),
        ("completed", "info", "ReleaseNoted", "info"),
    ] {
        let output = note(outcome, &address).await;
        assert!(output.status.success(), "{}", stderr(&output));
        let event = sink.wait_for_event(|event| event["level"] == level).await;
        let sentence = event.body["message"].as_str().expect("it is a message");
        assert!(
            sentence.starts_with("Release 1.5.0")
                && sentence.ends_with(": 2.1 % of replies are 5xx"),
            "{sentence}"
        );
        let alerts = taken.lock().expect("nobody panicked").pop();
        let alerts = alerts.expect("an alert arrived");
        let labels = &alerts[0]["labels"];
        assert_eq!(
            (&labels["alertname"], &labels["severity"]),
            (&json!(alert), &json!(severity))
        );
        assert_eq!(alerts[0]["annotations"]["summary"], sentence);
    }
    let output = note("refused", "http://127.0.0.1:1").await;
    assert_eq!(output.status.code(), Some(1), "nobody took the note");
}

/// A page of metrics with so many replies by status, and of each 2xx the time: `(seconds, replies)` by bucket.
fn page(ok: u32, failed: u32, times: [u32; 4]) -> String {
    let mut text = format!(
        "# TYPE http_requests_total counter\n\
         http_requests_total{{method=\"GET\",route=\"/health/ready\",status=\"503\"}} 1000\n\
         http_requests_total{{method=\"GET\",route=\"/api/v1/users/me\",status=\"200\"}} {ok}\n\
         http_requests_total{{method=\"GET\",route=\"/api/v1/users/me\",status=\"500\"}} {failed}\n\
         http_request_duration_seconds_bucket{{method=\"POST\",route=\"/api/v1/auth/login\",class=\"2xx\",le=\"10\"}} 9000\n\
         http_request_duration_seconds_bucket{{method=\"POST\",route=\"/api/v1/auth/login\",class=\"2xx\",le=\"+Inf\"}} 9000\n"
    );
    for (le, count) in ["0.01", "0.1", "1", "+Inf"].into_iter().zip(times) {
        // Writing to memory does not fail.
        let _ = writeln!(
            text,
            "http_request_duration_seconds_bucket{{method=\"GET\",route=\"/api/v1/users/me\",class=\"2xx\",le=\"{le}\"}} {count}"
        );
    }
    text
}

fn compare(folder: &Path, pages: [&str; 4], baseline: &str) -> Vec<String> {
    let files: Vec<PathBuf> = (0..4).map(|at| folder.join(at.to_string())).collect();
    for (file, text) in files.iter().zip(pages) {
        std::fs::write(file, text).expect("it is written");
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/bin/compare-metrics");
    let output = Command::new(program)
        .args(&files)
        .env("BASELINE", baseline)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn a_new_side_is_judged_by_its_errors_and_its_latency_beside_the_old_one() {
    let folder = std::env::temp_dir().join(format!("compare-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("it is made");
    // What was before the step counts on neither side.
    let before = page(5000, 5000, [0, 0, 5000, 5000]);
    let after = |ok: u32, failed: u32, times: [u32; 4]| {
        let [a, b, c, d] = times;
        page(5000 + ok, 5000 + failed, [a, b, 5000 + c, 5000 + d])
    };
    let old = after(1000, 0, [1000, 1000, 1000, 1000]);
    let idle = after(0, 0, [0, 0, 0, 0]);
    for (what, old, new, baseline, verdict) in [
        ("as the old side", &old, after(500, 0, [500; 4]), "", "good"),
        ("1 % of errors", &old, after(990, 10, [990; 4]), "", "good"),
        (
            "2 % of errors",
            &old,
            after(980, 20, [980; 4]),
            "",
            "errors",
        ),
        (
            "few replies, all errors",
            &old,
            after(0, 99, [0; 4]),
            "",
            "few",
        ),
        ("100 replies", &old, after(98, 2, [98; 4]), "", "errors"),
        (
            "2 % that take up to 1 s",
            &old,
            after(500, 0, [490, 490, 500, 500]),
            "",
            "slow",
        ),
        (
            "0.5 % that take up to 1 s",
            &old,
            after(1000, 0, [995, 995, 1000, 1000]),
            "",
            "good",
        ),
        // Twice as much, of little.
        (
            "p99 below the floor",
            &old,
            after(1000, 0, [970, 1000, 1000, 1000]),
            "0.03",
            "slow",
        ),
        (
            "beside an old side without users",
            &idle,
            after(500, 0, [490, 490, 500, 500]),
            "0.01",
            "slow",
        ),
        (
            "an old side that was a third as slow, before",
            &idle,
            after(500, 0, [490, 490, 500, 500]),
            "0.2",
            "good",
        ),
        (
            "an old side that was as slow",
            &idle,
            after(500, 0, [490, 490, 500, 500]),
            "0.5",
            "good",
        ),
        (
            "nothing to compare with",
            &idle,
            after(500, 0, [490, 490, 500, 500]),
            "",
            "good",
        ),
    ] {
        let lines = compare(&folder, [&before, old, &before, &new], baseline);
        assert_eq!(lines[0], verdict, "{what}: {lines:?}");
        assert!(!lines[1].is_empty(), "{what}: {lines:?}");
    }
    let lines = compare(&folder, [&before, &old, &before, &old], "");
    assert_eq!(lines[2], "0.0099", "the p99 of the old side");
    std::fs::remove_dir_all(&folder).expect("it is removed");
}
