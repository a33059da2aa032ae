//! Hourly and daily sums: the same numbers as by the minute, whichever release wrote them.

use futures_util::future::join_all;
use groundwork::usage::{self, BackfillRollups};
use serde_json::Value;

use super::{ask, flush, interrupt_flush, list};
use crate::harness::{Session, TestApp};

/// How a release without rollups adds a row for each minute of a time.
const BY_AN_OLDER_RELEASE: &str = "
    INSERT INTO api_usage AS u
    SELECT id, 'GET /api/v1/' || n % 3, n % 4 + 1, n % 7, n % 5, (ARRAY[200, 404, 429, 500])[n % 4 + 1],
           date_trunc('minute', $1::timestamptz) - make_interval(mins => n * 7)
    FROM users CROSS JOIN generate_series(0, $2::integer - 1) AS n
    ORDER BY 1, 7, 2, 6
    ON CONFLICT (user_id, created_at, endpoint, status_code) DO UPDATE SET
        request_count = u.request_count + excluded.request_count,
        response_time_ms = u.response_time_ms + excluded.response_time_ms,
        response_time_max_ms = greatest(u.response_time_max_ms, excluded.response_time_max_ms)";

pub(super) async fn write_as_an_older_release(app: &TestApp, minutes: i32) {
    sqlx::query(BY_AN_OLDER_RELEASE)
        .bind(app.clock.now())
        .bind(minutes)
        .execute(&app.owner_db)
        .await
        .expect("the runtime role may");
}

async fn execute(app: &TestApp, sql: &'static str) {
    sqlx::raw_sql(sql)
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
}

/// Requests, errors and times of a table, by user.
pub(super) async fn sums(app: &TestApp, table: &str) -> Vec<(uuid::Uuid, i64, i64, i64)> {
    let errors = match table {
        "api_usage" => {
            "coalesce(sum(request_count) FILTER (WHERE status_code BETWEEN 400 AND 499), 0)::int8,
             coalesce(sum(request_count) FILTER (WHERE status_code >= 500), 0)::int8"
        }
        _ => "sum(client_errors)::int8, sum(server_errors)::int8",
    };
    let sql = format!(
        "SELECT user_id, sum(request_count)::int8, {errors} FROM {table} GROUP BY 1 ORDER BY 1"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(&app.owner_db)
        .await
        .expect("the table is there")
}

pub(super) async fn assert_exact(app: &TestApp) {
    let expected = sums(app, "api_usage").await;
    assert!(!expected.is_empty());
    assert_eq!(sums(app, "usage_hourly").await, expected);
    assert_eq!(sums(app, "usage_daily").await, expected);
}

/// Items without the means, which differ in their last digits by the order of summing.
pub(super) fn without_means(mut items: Vec<Value>) -> Vec<Value> {
    for item in &mut items {
        item["response_time_mean_ms"] = Value::Null;
    }
    items
}

#[tokio::test]
async fn reports_from_rollups_are_those_by_the_minute() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    app.sign_up("bob").await;
    write_as_an_older_release(&app, 9_000).await;
    for query in [
        "",
        "group_by=endpoint",
        "from=2026-02-10T10:30:00Z&to=2026-03-12T09:17:00Z",
        "from=2026-03-01T00:00:00Z&to=2026-03-05T00:00:00Z&group_by=endpoint",
        "from=2026-03-01T05:10:00Z&to=2026-03-01T05:50:00Z",
        "from=2026-03-01T05:10:00Z&to=2026-03-01T23:50:00Z",
        "granularity=hour&from=2026-03-01T05:10:00Z&to=2026-03-09T07:01:00Z",
        "granularity=hour&group_by=endpoint&from=2026-03-11T05:00:00Z&to=2026-03-12T07:00:00Z&limit=7",
        "group_by=endpoint&limit=5&from=2026-03-01T05:10:00Z",
        "granularity=minute&limit=3",
    ] {
        let fast = without_means(list(&ada, query).await);
        execute(&app, "UPDATE usage_backfill SET is_done = false").await;
        let slow = without_means(list(&ada, query).await);
        execute(&app, "UPDATE usage_backfill SET is_done = true").await;
        assert!(!slow.is_empty(), "{query}");
        assert_eq!(fast, slow, "{query}");
    }
    let days = |body: &Value| body["usage"]["days"].clone();
    let fast = ada.get("/api/v1/dashboard").await;
    fast.assert_status(200);
    execute(&app, "UPDATE usage_backfill SET is_done = false").await;
    // Its own process has it cached.
    let other = app.another_replica().await;
    let there = Session {
        replica: other,
        tokens: ada.tokens.clone(),
    };
    let slow = there.get("/api/v1/dashboard").await;
    assert_eq!(days(&fast.body), days(&slow.body));
    assert!(
        days(&fast.body)
            .as_array()
            .is_some_and(|days| days.len() > 10)
    );
}

#[tokio::test]
async fn rollups_are_exact_while_a_release_without_them_writes_as_well() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let bob = app.sign_in("bob").await;
    for _ in 0..4 {
        ask(&ada, 3).await;
        ask(&bob, 2).await;
        let other = app.another_replica().await;
        let there = Session {
            replica: other.clone(),
            tokens: ada.tokens.clone(),
        };
        ask(&there, 2).await;
        let flushes = [usage::flush(&app.state), usage::flush(&other.state)];
        let (written, ()) = tokio::join!(join_all(flushes), write_as_an_older_release(&app, 500));
        for flushed in written {
            // A release without rollups may run into a deadlock; then the batch is sent again.
            if flushed.is_err() {
                flush(&app).await;
                usage::flush(&other.state).await.expect("it is written");
            }
        }
    }
    assert_exact(&app).await;
}

#[tokio::test]
async fn a_batch_that_is_sent_twice_is_rolled_up_once() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    ask(&ada, 4).await;
    let mut owner = app.owner().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE usage_writers IN ACCESS EXCLUSIVE MODE")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    interrupt_flush(&app).await;
    sqlx::raw_sql("COMMIT")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    flush(&app).await;
    assert_exact(&app).await;
    assert_eq!(sums(&app, "usage_daily").await[0].1, 4);
}

#[tokio::test]
async fn rows_from_before_the_rollups_are_summed_up_in_batches_beside_writers() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for name in ["bob", "eve"] {
        app.sign_up(name).await;
    }
    execute(
        &app,
        "ALTER TABLE api_usage DISABLE TRIGGER api_usage_roll_up_inserts, DISABLE TRIGGER api_usage_roll_up_updates;
         UPDATE usage_backfill SET is_done = false",
    )
    .await;
    write_as_an_older_release(&app, 6_000).await;
    execute(
        &app,
        "ALTER TABLE api_usage ENABLE TRIGGER api_usage_roll_up_inserts, ENABLE TRIGGER api_usage_roll_up_updates",
    )
    .await;
    assert!(sums(&app, "usage_daily").await.is_empty());
    let before = without_means(list(&ada, "").await);

    job_queue::enqueue(&app.state.db, &BackfillRollups::default(), None)
        .await
        .expect("it is enqueued");
    let writing = async {
        for _ in 0..20 {
            write_as_an_older_release(&app, 50).await;
            ask(&ada, 1).await;
            flush(&app).await;
        }
    };
    tokio::join!(app.run_jobs(), writing);
    let done: bool = sqlx::query_scalar("SELECT is_done FROM usage_backfill")
        .fetch_one(&app.owner_db)
        .await
        .expect("it has a row");
    assert!(done);
    assert_exact(&app).await;
    let after = without_means(list(&ada, "").await);
    assert_eq!(before.len(), after.len());
    assert_eq!(before[..20], after[..20], "old days are as they were");

    job_queue::enqueue(&app.state.db, &BackfillRollups::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
    assert_exact(&app).await;
}
