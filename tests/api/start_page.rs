//! The start page in development: its headers and links, the job queue and retries, and that production has none.

use groundwork::config::Config;
use groundwork_dev::files::Scratch;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::harness::{Answer, TestApp};

const STATUS: &str = "/start/status";
const LINKS: &str = "/start/links";
const ROUTES: [&str; 5] = [
    "/",
    "/assets/start-page.js",
    "/assets/start-page.css",
    LINKS,
    STATUS,
];
const ORIGIN: &str = "http://127.0.0.1";
const RETRY_OF_NOBODY: &str = "/start/jobs/987654321/retry";

/// Adds a job of a real task, whose payload has an address; returns its id.
pub async fn add_job(app: &TestApp, columns: &str) -> i64 {
    let sql = format!(
        "WITH task AS (
             INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('jobs.purge_dead')
             ON CONFLICT (identifier) DO UPDATE SET identifier = excluded.identifier RETURNING id
         )
         INSERT INTO graphile_worker._private_jobs
             (task_id, payload, run_at, attempts, max_attempts, last_error, locked_at)
         SELECT task.id, '{{\"to\":\"payload@example.com\"}}', {columns} FROM task RETURNING id"
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&app.owner_db)
        .await
        .expect("the owner may")
}

const FAILED: &str = "now() + interval '1 hour', 3, 18, 'connection refused', NULL";
const DEAD: &str = "now() - interval '1 hour', 18, 18, '<script>alert(1)</script>', NULL";
const WAITING: &str = "now() + interval '1 hour', 0, 18, NULL, NULL";
const RUNNING: &str = "now(), 2, 18, 'connection refused', now()";

async fn clear(app: &TestApp) {
    sqlx::query("DELETE FROM graphile_worker._private_jobs")
        .execute(&app.owner_db)
        .await
        .expect("the owner may");
}

async fn retry(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = app.replica.request(Method::POST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.replica.send(&Method::POST, path, request).await
}

async fn retry_job(app: &TestApp, id: i64) -> Answer {
    let path = format!("/start/jobs/{id}/retry");
    retry(app, &path, &[("origin", ORIGIN)]).await
}

async fn queue(app: &TestApp) -> Value {
    let status = app.get(STATUS).await;
    status.assert_status(200);
    status.body["queue"].clone()
}

#[tokio::test]
async fn in_development_the_page_is_served_under_a_strict_policy_and_its_links_lead_somewhere() {
    let app = TestApp::new().await;
    for path in ROUTES {
        let answer = app.get(path).await;
        answer.assert_status(200);
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
    }
    let page = app.get("/").await;
    let page = String::from_utf8(page.bytes).expect("it is text");
    for inline in ["<style", "style=", "<script>", " onclick", " onload"] {
        assert!(!page.contains(inline), "{inline}");
    }
    let quoted = |attribute: &str| {
        let parts = page.split(attribute).skip(1);
        let values = parts.filter_map(|rest| rest.split('"').next());
        values.map(str::to_owned).collect::<Vec<_>>()
    };
    let links = [quoted("href=\""), quoted("src=\"")].concat();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        if let Some(id) = link.strip_prefix('#') {
            assert!(page.contains(&format!("id=\"{id}\"")), "{link}");
            continue;
        }
        assert!(!link.contains(':') && !link.starts_with('/'), "{link}");
        let answer = app.get(&format!("/{link}")).await;
        assert_eq!(answer.status, 200, "{link}");
    }
}

#[tokio::test]
async fn in_production_and_without_docs_there_is_neither_page_nor_state() {
    let app = TestApp::new().await;
    let id = add_job(&app, DEAD).await;
    let production = app
        .another_replica_with(&[
            ("APP_ENV", "production"),
            ("PUBLIC_URL", "https://127.0.0.1"),
            ("TRUSTED_PROXIES", "127.0.0.1"),
        ])
        .await;
    let off = app.another_replica_with(&[("DOCS_ENABLED", "false")]).await;
    for replica in [&production, &off] {
        for path in ROUTES {
            let answer = replica.call(Method::GET, path, None, None).await;
            answer.assert_problem(404, "not_found");
        }
        let path = format!("/start/jobs/{id}/retry");
        let answer = replica.call(Method::POST, &path, None, None).await;
        answer.assert_problem(404, "not_found");
    }
    assert_eq!(queue(&app).await["counts"]["dead"], 1);
    clear(&app).await;
}

#[tokio::test]
async fn a_failed_job_is_listed_without_its_payload_and_runs_when_it_is_retried() {
    let app = TestApp::new().await;
    let dead = add_job(&app, DEAD).await;
    let failed = add_job(&app, FAILED).await;
    add_job(&app, WAITING).await;
    add_job(&app, RUNNING).await;

    let status = app.get(STATUS).await;
    let text = String::from_utf8(status.bytes).expect("it is text");
    assert!(!text.contains("payload"), "{text}");
    let queue_before = &status.body["queue"];
    assert_eq!(
        queue_before["counts"],
        json!({ "waiting": 0, "scheduled": 1, "running": 1, "failed": 1, "dead": 1 })
    );
    let jobs = queue_before["jobs"].as_array().expect("there are jobs");
    let of = |id: i64| {
        let mut found = jobs.iter().filter(|job| job["id"] == id);
        found.next().expect("it is listed").clone()
    };
    assert_eq!(
        jobs.len(),
        3,
        "without the one that has not failed: {jobs:?}"
    );
    let shown = of(dead);
    assert_eq!(shown["task"], "jobs.purge_dead");
    assert_eq!(shown["state"], "dead");
    assert_eq!(
        (&shown["attempts"], &shown["max_attempts"]),
        (&json!(18), &json!(18))
    );
    assert_eq!(shown["last_error"], "<script>alert(1)</script>");
    assert_eq!(shown["next_attempt"], Value::Null);
    assert_eq!(of(failed)["state"], "failed");
    assert!(of(failed)["next_attempt"].is_string());

    for id in [dead, failed] {
        retry_job(&app, id).await.assert_status(204);
    }
    assert_eq!(queue(&app).await["counts"]["waiting"], 2);
    app.run_jobs().await;
    let left = queue(&app).await;
    assert_eq!(
        left["counts"],
        json!({ "waiting": 0, "scheduled": 1, "running": 1, "failed": 0, "dead": 0 })
    );
    clear(&app).await;
}

#[tokio::test]
async fn the_newest_failure_is_listed_first() {
    let app = TestApp::new().await;
    // Each was due, and failed, at another time; the next attempt comes e^attempts seconds after it.
    let old = add_job(
        &app,
        "now() + interval '1 hour', 9, 18, 'two hours ago', NULL",
    )
    .await;
    let new = add_job(&app, "now(), 1, 18, 'seconds ago', NULL").await;
    let oldest = add_job(&app, "now() - interval '1 day', 18, 18, 'a day ago', NULL").await;
    let queue = queue(&app).await;
    let jobs = queue["jobs"].as_array().expect("there are jobs");
    let ids: Vec<_> = jobs.iter().filter_map(|job| job["id"].as_i64()).collect();
    assert_eq!(ids, [new, old, oldest]);
    clear(&app).await;
}

#[tokio::test]
async fn only_a_failed_job_that_no_worker_runs_is_retried() {
    let app = TestApp::new().await;
    let waiting = add_job(&app, WAITING).await;
    let running = add_job(&app, RUNNING).await;
    retry_job(&app, 987_654_321)
        .await
        .assert_problem(404, "not_found");
    retry_job(&app, waiting)
        .await
        .assert_problem(404, "not_found");
    retry_job(&app, running)
        .await
        .assert_problem(409, "conflict");
    let answer = retry(&app, "/start/jobs/x/retry", &[("origin", ORIGIN)]).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    app.get(RETRY_OF_NOBODY)
        .await
        .assert_problem(405, "method_not_allowed");
    clear(&app).await;
}

#[tokio::test]
async fn of_retries_at_once_each_is_accepted_and_the_job_runs_once() {
    let app = TestApp::new().await;
    let id = add_job(&app, DEAD).await;
    let answers = futures_util::future::join_all((0..8).map(|_| retry_job(&app, id))).await;
    for answer in answers {
        answer.assert_status(204);
    }
    assert_eq!(queue(&app).await["counts"]["waiting"], 1);
    app.run_jobs().await;
    assert_eq!(queue(&app).await["jobs"], json!([]));
}

#[tokio::test]
async fn pages_of_other_sites_cannot_retry_a_job() {
    let app = TestApp::new().await;
    let id = add_job(&app, DEAD).await;
    let path = format!("/start/jobs/{id}/retry");
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", ORIGIN), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "none")],
    ] {
        let answer = retry(&app, &path, headers).await;
        answer.assert_problem(403, "csrf_refused");
    }
    assert_eq!(queue(&app).await["counts"]["dead"], 1);
    let foreign_host = [("origin", ORIGIN), ("host", "evil.example")];
    let answer = retry(&app, &path, &foreign_host).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(queue(&app).await["counts"]["dead"], 1);

    let own_page = [("sec-fetch-site", "same-origin")];
    retry(&app, &path, &own_page).await.assert_status(204);
    clear(&app).await;
}

#[tokio::test]
async fn links_are_those_of_the_file_and_none_without_it() {
    let folder = Scratch::new(None).expect("a directory is made");
    let file = folder.path().join("urls.json");
    let path = file.display().to_string();
    let app = TestApp::with(&[("START_PAGE_FILE", &path)]).await;
    let none = app.get(LINKS).await;
    none.assert_status(200);
    assert_eq!(
        (&none.body["inbox"], &none.body["demo"]),
        (&Value::Null, &Value::Null)
    );

    let demo = json!({ "email": "demo@example.com", "password": "demo-on-my-machine" });
    let written = json!({
        "root": "http://127.0.0.1:8000",
        "inbox": "http://127.0.0.1:8025",
        "database": "postgres://app_owner:of-the-database@127.0.0.1/app",
        "stripe": { "url": "http://127.0.0.1:12111", "secret_key": "sk_test_development" },
        "demo": demo,
    });
    std::fs::write(&file, written.to_string()).expect("it is written");
    let links = app.get(LINKS).await;
    links.assert_status(200);
    assert_eq!(links.body["inbox"], "http://127.0.0.1:8025");
    assert_eq!(
        links.body["stripe"],
        json!({ "url": "http://127.0.0.1:12111" })
    );
    assert_eq!(links.body["demo"], demo);
    assert!(!links.body.to_string().contains("of-the-database"));

    std::fs::write(&file, "{").expect("it is written");
    app.get(LINKS).await.assert_problem(500, "internal");
    app.get(STATUS).await.assert_status(200);
}

#[tokio::test]
async fn requests_are_counted_without_probes_and_the_page_itself() {
    let app = TestApp::new().await;
    let unrecorded = app.get(STATUS).await;
    assert_eq!(unrecorded.body["http"], Value::Null);
    assert_eq!(unrecorded.body["pool"]["max"], 8, "{}", unrecorded.body);

    groundwork::metrics::start("test", None).expect("it records");
    let responses = async || {
        let status = app.get(STATUS).await;
        status.assert_status(200);
        let of = |class: &str| status.body["http"]["responses"][class].as_u64();
        let slowest = status.body["http"]["durations"]["+Inf"].as_u64();
        [of("2xx"), of("4xx"), slowest].map(Option::unwrap_or_default)
    };
    assert_eq!(responses().await, [0, 0, 0]);
    for _ in 0..3 {
        app.get("/api/v1/pricing").await.assert_status(200);
        app.get("/health/live").await.assert_status(200);
    }
    app.get("/api/v1/users/me").await.assert_status(401);
    assert_eq!(responses().await, [3, 1, 4]);
}

#[tokio::test]
async fn production_refuses_the_file_of_the_page() {
    let app = TestApp::with(&[("START_PAGE_FILE", "urls.json")]).await;
    let mut settings = app.settings.clone();
    settings.insert("APP_ENV".to_owned(), "production".to_owned());
    let faults = Config::read(&settings).expect_err("it is refused");
    assert!(faults.to_string().contains("START_PAGE_FILE"), "{faults}");
}
