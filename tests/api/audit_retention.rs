//! How long the audit log keeps entries, and the addresses in them.

use std::time::Duration;

use clock::Clock;
use groundwork::audit::RemoveAddresses;
use groundwork::partitions::MaintainPartitions;
use serde_json::Value;

use crate::harness::TestApp;

const DAY: Duration = Duration::from_hours(24);

async fn remove(app: &TestApp) {
    job_queue::enqueue(&app.state.db, &RemoveAddresses::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(&app.owner_db)
        .await
        .expect("the log is there")
}

const ENTRIES: &str = "SELECT count(*) FROM audit_log";
const WITH_ADDRESS: &str =
    "SELECT count(*) FROM audit_log WHERE ip IS NOT NULL OR user_agent IS NOT NULL";

#[tokio::test]
async fn addresses_are_removed_after_their_time_and_the_entries_stay() {
    let app = TestApp::with(&[("AUDIT_ADDRESS_RETENTION", "40d")]).await;
    app.sign_in("ada").await;
    let entries = count(&app, ENTRIES).await;
    let addresses = count(&app, WITH_ADDRESS).await;
    assert!(addresses > 1);
    app.clock.advance(39 * DAY);
    app.log_in("ada@example.com").await;
    remove(&app).await;
    assert_eq!(count(&app, WITH_ADDRESS).await, addresses + 1);

    app.clock.advance(2 * DAY);
    remove(&app).await;
    assert_eq!(count(&app, WITH_ADDRESS).await, 1, "the second sign-in's");
    assert_eq!(count(&app, ENTRIES).await, entries + 1);
    let ada = app.log_in("ada@example.com").await;
    let log = ada.get("/api/v1/audit-log?limit=100").await;
    log.assert_status(200);
    let items = log.body["items"].as_array().expect("it has items");
    assert!(items.iter().any(|item| item["ip"] == Value::Null));
    assert!(items.iter().any(|item| item["ip"] != Value::Null));
    app.clock.advance(60 * DAY);
    remove(&app).await;
    assert_eq!(count(&app, WITH_ADDRESS).await, 0);
}

#[tokio::test]
async fn more_entries_than_a_batch_are_done_also_when_they_are_of_one_moment() {
    let app = TestApp::new().await;
    for seconds in [0, 1] {
        sqlx::query(
            "INSERT INTO audit_log (id, created_at, event, ip, user_agent)
             SELECT gen_random_uuid(), timestamptz '2025-10-05 00:00+00' + make_interval(secs => n * $1), 'test',
                    CASE WHEN n % 2 = 0 THEN '203.0.113.7'::inet END, 'Ada''s own browser'
             FROM generate_series(1, 12000) AS n",
        )
        .bind(f64::from(seconds))
        .execute(&app.owner_db)
        .await
        .expect("the runtime role may add");
    }
    remove(&app).await;
    assert_eq!(count(&app, WITH_ADDRESS).await, 0);
    assert_eq!(count(&app, ENTRIES).await, 24_000);
    remove(&app).await;
}

#[tokio::test]
async fn recent_addresses_and_months_cannot_be_removed_by_the_runtime_role() {
    let app = TestApp::new().await;
    app.sign_in("ada").await;
    for statement in [
        "SELECT remove_audit_addresses(now(), 100)",
        "SELECT remove_audit_addresses(now() - interval '29 days', 100)",
        "SELECT remove_audit_addresses(NULL, 100)",
        "SELECT remove_audit_addresses(now() - interval '90 days', 0)",
        "SELECT drop_month_partitions('audit_log', now() - interval '364 days')",
        "SELECT drop_month_partitions('audit_log', NULL)",
        "UPDATE audit_log SET ip = NULL",
        "SELECT erase_audit_details(id, 100) FROM users",
        "SELECT erase_audit_details(NULL, 100)",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&app.state.db).await;
        assert!(refused.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn entries_are_kept_for_two_years_or_the_time_that_is_set() {
    let app = TestApp::new().await;
    for (retention, months, kept) in [
        (None, 20, true),
        (None, 30, false),
        (Some("36mo"), 30, true),
        (Some("12mo"), 20, false),
    ] {
        let overrides: Vec<_> = retention
            .map(|it| ("AUDIT_RETENTION", it))
            .into_iter()
            .collect();
        let replica = app.another_replica_with(&overrides).await;
        sqlx::query(
            "INSERT INTO audit_log (id, created_at, event)
             VALUES (gen_random_uuid(), now() - make_interval(months => $1), 'test')",
        )
        .bind(months)
        .execute(&app.owner_db)
        .await
        .expect("the runtime role may add");
        // The time of the database, by which these months are dropped.
        let now = Clock::system().now();
        let wait = (now - app.clock.now()).to_std().unwrap_or_default();
        app.clock.advance(wait);
        job_queue::enqueue(&app.state.db, &MaintainPartitions::default(), None)
            .await
            .expect("it is enqueued");
        run_jobs_of(&app, &replica, &overrides).await;
        let old = "SELECT EXISTS (SELECT FROM audit_log WHERE created_at < now() - make_interval(months => $1))";
        let is_kept: bool = sqlx::query_scalar(old)
            .bind(months - 1)
            .fetch_one(&app.owner_db)
            .await
            .expect("the log is there");
        assert_eq!(is_kept, kept, "{retention:?}, {months}");
    }
}

/// Runs what is due with the settings of a replica.
async fn run_jobs_of(app: &TestApp, replica: &crate::harness::Replica, overrides: &[(&str, &str)]) {
    let mut settings = app.settings.clone();
    let more = overrides
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    settings.extend(more);
    let worker = crate::harness::config(&settings).worker;
    let stop = tokio_util::sync::CancellationToken::new();
    let worker = groundwork::worker::worker(replica.state.clone(), &worker, stop).await;
    let worker = worker.expect("the worker starts");
    worker.run_once().await.expect("the worker runs");
}
