//! Jobs that failed at their last attempt, and what the queue costs those who look at it.

use std::time::Duration;

use job_queue::PurgeDeadJobs;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::harness::TestApp;

async fn execute(app: &TestApp, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into()))
        .execute(&mut app.owner().await)
        .await
        .expect("the owner may");
}

/// Adds jobs that nobody runs. `ago` is when they were due.
async fn add(app: &TestApp, jobs: i64, columns: &str, ago: &str) {
    let sql = format!(
        "INSERT INTO graphile_worker._private_tasks (identifier) VALUES ('test') ON CONFLICT DO NOTHING;
         INSERT INTO graphile_worker._private_jobs (task_id, run_at, priority, attempts, max_attempts)
         SELECT (SELECT id FROM graphile_worker._private_tasks WHERE identifier = 'test'),
                now() - interval '{ago}', {columns} FROM generate_series(1, {jobs}) AS n"
    );
    execute(app, sql).await;
}

async fn dead(app: &TestApp) -> i64 {
    job_queue::count_dead(&app.state.db)
        .await
        .expect("it counts")
}

#[tokio::test]
async fn dead_jobs_are_kept_for_their_time_and_then_deleted() {
    let app = TestApp::with(&[("DEAD_JOBS_RETENTION", "10d")]).await;
    add(&app, 2_500, "0, 18, 18", "11 days").await;
    add(&app, 3, "0, 18, 18", "9 days").await;
    add(&app, 2, "0, 17, 18", "-9 days").await;
    assert_eq!(dead(&app).await, 2_503);
    let queue = job_queue::queue_state(&app.state.db)
        .await
        .expect("it answers");
    assert_eq!(format!("{} {}", queue.waiting, queue.dead), "0 2503");

    job_queue::enqueue(&app.state.db, &PurgeDeadJobs::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
    assert_eq!(dead(&app).await, 3);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
        .fetch_one(&app.owner_db)
        .await
        .expect("it counts");
    assert_eq!(left, 5, "and those that have an attempt left");
    execute(&app, "DELETE FROM graphile_worker._private_jobs").await;
}

#[tokio::test]
async fn the_queue_is_late_by_jobs_of_any_priority_and_not_by_others() {
    let app = TestApp::new().await;
    let late = async || {
        job_queue::is_late(&app.state.db, Duration::from_mins(5))
            .await
            .expect("it answers")
    };
    assert!(!late().await);
    add(&app, 5, "0, 0, 18", "-1 hour").await;
    add(&app, 5, "0, 18, 18", "3 days").await;
    add(&app, 5, "n::int, 0, 18", "4 minutes").await;
    assert!(!late().await, "due, and not for long");
    let queue = job_queue::queue_state(&app.state.db)
        .await
        .expect("it answers");
    assert_eq!(format!("{} {}", queue.waiting, queue.dead), "5 5");
    assert!((230.0..300.0).contains(&queue.oldest_seconds), "{queue:?}");
    for priority in [-7, 3, 100] {
        add(&app, 1, &format!("{priority}, 0, 18"), "6 minutes").await;
        assert!(late().await, "{priority}");
        let ready = app.another_replica().await;
        let health = ready
            .call(reqwest::Method::GET, "/health/ready", None, None)
            .await;
        assert_eq!(health.body["queue"], "degraded");
        let taken = format!(
            "UPDATE graphile_worker._private_jobs SET locked_at = now() WHERE priority = {priority} AND run_at < now() - interval '5 minutes'"
        );
        execute(&app, taken).await;
        assert!(!late().await, "a job that runs is not waiting");
    }
    execute(&app, "DELETE FROM graphile_worker._private_jobs").await;
}

/// Rows of the queue's table that were read so far.
async fn rows_read(conn: &mut PgConnection) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(&mut *conn)
        .await
        .expect("it answers");
    sqlx::query_scalar(
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
         FROM pg_stat_user_tables WHERE relname = '_private_jobs'",
    )
    .fetch_one(conn)
    .await
    .expect("it answers")
}

#[tokio::test]
async fn readiness_reads_a_handful_of_rows_of_a_long_queue() {
    let app = TestApp::new().await;
    add(&app, 50_000, "n::int % 3, 0, 18", "-1 hour").await;
    add(&app, 20_000, "0, 18, 18", "3 days").await;
    execute(&app, "VACUUM ANALYZE graphile_worker._private_jobs").await;
    // On one connection, which says itself what it read.
    let mut looker = app.owner().await;
    let before = rows_read(&mut looker).await;
    for _ in 0..20 {
        let late = job_queue::is_late(&mut looker, Duration::from_hours(2)).await;
        assert!(!late.expect("it answers"));
    }
    let read = rows_read(&mut looker).await - before;
    assert!(read < 1_000, "{read} rows for 20 looks");
    execute(&app, "DELETE FROM graphile_worker._private_jobs").await;
}
