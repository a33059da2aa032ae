//! Old counts by the hour: fewer rows, the same sums.

use std::time::Duration;

use groundwork::usage::CompactUsage;
use serde_json::Value;

use super::rollups::{assert_exact, without_means, write_as_an_older_release};
use super::{ask, flush, list};
use crate::harness::TestApp;

const HOUR: Duration = Duration::from_hours(1);

async fn enqueue(app: &TestApp) {
    job_queue::enqueue(&app.state.db, &CompactUsage::default(), None)
        .await
        .expect("it is enqueued");
}

async fn compact(app: &TestApp) {
    enqueue(app).await;
    app.run_jobs().await;
}

/// All of them, those that are not of a whole hour, and their requests.
type OldRows = (i64, i64, i64);

/// Rows older than two days and an hour.
async fn old_rows(app: &TestApp) -> OldRows {
    sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE created_at <> date_trunc('hour', created_at, 'UTC')),
                coalesce(sum(request_count), 0)::int8
         FROM api_usage WHERE created_at < date_trunc('hour', $1::timestamptz, 'UTC')",
    )
    .bind(app.clock.now() - 49 * HOUR)
    .fetch_one(&app.owner_db)
    .await
    .expect("they are counted")
}

#[tokio::test]
async fn old_counts_are_added_up_by_the_hour_beside_writers_without_losing_any() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for name in ["bob", "eve"] {
        app.sign_up(name).await;
    }
    write_as_an_older_release(&app, 3_000).await;
    // An endpoint that is called each minute of a day.
    sqlx::query(
        "INSERT INTO api_usage
         SELECT id, 'GET /api/v1/dense', 2, 3, 2, 200, date_trunc('hour', $1::timestamptz, 'UTC') + make_interval(mins => n), id
         FROM users CROSS JOIN generate_series(0, 24 * 60 - 1) AS n ORDER BY 1, 7",
    )
    .bind(app.clock.now() - 100 * HOUR)
    .execute(&app.owner_db)
    .await
    .expect("it is written");
    let dense = async || -> i64 {
        let count = "SELECT count(*) FROM api_usage WHERE endpoint = 'GET /api/v1/dense'";
        sqlx::query_scalar(count)
            .fetch_one(&app.owner_db)
            .await
            .expect("it is counted")
    };
    assert_eq!(dense().await, 3 * 24 * 60);
    let reports = [
        "",
        "group_by=endpoint",
        "from=2026-03-01T00:00:00Z&to=2026-03-05T00:00:00Z&group_by=endpoint",
        "granularity=hour&from=2026-03-01T05:00:00Z&to=2026-03-09T07:00:00Z&group_by=endpoint",
    ];
    let read = async || {
        let mut all = Vec::new();
        for report in reports {
            all.push(without_means(list(&ada, report).await));
        }
        all
    };
    let before = read().await;
    let (_, by_minute, requests) = old_rows(&app).await;
    assert!(by_minute > 5_000, "{by_minute}");

    // Two workers, a release that writes, and a batch of an hour that is being added up.
    enqueue(&app).await;
    enqueue(&app).await;
    let late = async {
        for _ in 0..10 {
            sqlx::query(
                "INSERT INTO api_usage AS u
                 SELECT id, 'GET /api/v1/1', 1, 0, 0, 200, date_trunc('minute', $1::timestamptz, 'UTC'), id FROM users
                 ON CONFLICT (user_id, created_at, endpoint, status_code)
                 DO UPDATE SET request_count = u.request_count + 1",
            )
            .bind(app.clock.now() - 70 * HOUR)
            .execute(&app.owner_db)
            .await
            .expect("it is written");
            ask(&ada, 1).await;
            flush(&app).await;
        }
    };
    tokio::join!(app.run_jobs(), app.run_jobs(), late);
    compact(&app).await;

    let now = old_rows(&app).await;
    assert_eq!((now.1, now.2), (0, requests + 3 * 10));
    assert_eq!(dense().await, 3 * 24);
    assert_exact(&app).await;
    let after = read().await;
    // Those of the days of the late rows and of today are more now.
    assert_eq!(after[2], before[2]);
    assert_eq!(after[3], before[3]);

    compact(&app).await;
    assert_eq!(old_rows(&app).await, now, "a second run has nothing to do");
    assert_exact(&app).await;
}

#[tokio::test]
async fn reports_of_old_times_are_by_the_hour_and_of_recent_ones_by_the_minute() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    write_as_an_older_release(&app, 1_000).await;
    compact(&app).await;
    let starts = |items: Vec<Value>| -> Vec<String> {
        let start = |item: &Value| item["start"].as_str().map(str::to_owned);
        items.iter().filter_map(start).collect()
    };
    let old = list(
        &ada,
        "granularity=minute&from=2026-03-11T05:10:00Z&to=2026-03-11T06:20:00Z",
    )
    .await;
    assert_eq!(
        starts(old),
        ["2026-03-11T05:00:00Z", "2026-03-11T06:00:00Z"]
    );
    let hours = list(
        &ada,
        "granularity=hour&from=2026-03-11T05:00:00Z&to=2026-03-11T07:00:00Z",
    )
    .await;
    let edges = list(
        &ada,
        "granularity=hour&from=2026-03-11T05:10:00Z&to=2026-03-11T06:20:00Z",
    )
    .await;
    assert_eq!(without_means(edges), without_means(hours));
    let recent = list(
        &ada,
        "granularity=minute&from=2026-03-13T05:10:00Z&to=2026-03-13T06:20:00Z",
    )
    .await;
    let recent = starts(recent);
    assert!(
        recent.len() > 5 && recent.iter().any(|start| !start.ends_with(":00:00Z")),
        "{recent:?}"
    );
}
