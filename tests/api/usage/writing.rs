//! Counts on their way to the database: none is lost and none is counted twice.

use std::time::Duration;

use clock::Clock;
use groundwork::partitions::MaintainPartitions;
use groundwork::usage::{self, PurgeUsage};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{EVENTS, ask, counted, flush, interrupt_flush, rows};
use crate::harness::{Session, TestApp};

const DAY: Duration = Duration::from_hours(24);

async fn execute(conn: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql)
        .execute(conn)
        .await
        .expect("the owner may");
}

async fn total(app: &TestApp) -> i64 {
    let sum = "SELECT coalesce(sum(request_count), 0)::int8 FROM usage_totals";
    sqlx::query_scalar(sum)
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there")
}

#[tokio::test]
async fn a_batch_whose_confirmation_was_lost_is_counted_once() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    for round in 1..=3 {
        ask(&ada, 4).await;
        let mut owner = app.owner().await;
        execute(
            &mut owner,
            "BEGIN; LOCK TABLE usage_writers IN ACCESS EXCLUSIVE MODE",
        )
        .await;
        interrupt_flush(&app).await;
        execute(&mut owner, "COMMIT").await;
        ask(&ada, 1).await;
        flush(&app).await;
        assert_eq!(counted(&app).await, round * 5);
        assert_eq!(total(&app).await, round * 5);
    }
    let reported = "SELECT max(batch) FROM usage_writers";
    let batches: i64 = sqlx::query_scalar(reported)
        .fetch_one(&app.owner_db)
        .await
        .expect("the table is there");
    assert_eq!(batches, 6, "what was sent again had its old number");
}

#[tokio::test]
async fn what_cannot_be_written_is_kept_with_its_minutes() {
    let app = TestApp::new().await;
    let ada = app.sign_in("ada").await;
    let mut owner = app.owner().await;
    execute(&mut owner, "ALTER TABLE usage_totals RENAME TO elsewhere").await;
    for _ in 0..3 {
        ask(&ada, 2).await;
        usage::flush(&app.state)
            .await
            .expect_err("there is no table");
        app.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(
        counted(&app).await,
        0,
        "a batch is written whole or not at all"
    );
    execute(&mut owner, "ALTER TABLE elsewhere RENAME TO usage_totals").await;
    flush(&app).await;
    let minutes: Vec<_> = rows(&app)
        .await
        .into_iter()
        .map(|row| (row.2, row.3))
        .collect();
    let expected = ["14 09:26", "14 09:27", "14 09:28"].map(|minute| (minute.to_owned(), 2));
    assert_eq!(minutes, expected);
    assert_eq!(total(&app).await, 6);
}

#[tokio::test]
async fn replicas_that_write_at_once_neither_wait_for_ever_nor_lose_anything() {
    let app = TestApp::new().await;
    let mut sessions = vec![app.sign_in("ada").await];
    for name in ["bob", "eve", "grace"] {
        sessions.push(app.sign_in(name).await);
    }
    let mut replicas = vec![app.replica.clone()];
    for _ in 0..3 {
        replicas.push(app.another_replica().await);
    }
    let mut asked = 0;
    for _ in 0..5 {
        for replica in &replicas {
            for session in &sessions {
                let session = Session {
                    replica: replica.clone(),
                    tokens: session.tokens.clone(),
                };
                ask(&session, 1).await;
                asked += 1;
            }
        }
        let flushes = replicas.iter().map(|replica| usage::flush(&replica.state));
        for flushed in futures_util::future::join_all(flushes).await {
            flushed.expect("it is written");
        }
    }
    assert_eq!(counted(&app).await, asked);
    assert_eq!(total(&app).await, asked);
    assert_eq!(rows(&app).await.len(), 4, "an account has one row a minute");
}

#[tokio::test]
async fn more_accounts_than_a_batch_holds_are_written_in_several() {
    let app = TestApp::new().await;
    let endpoint = app.state.meter.endpoint("GET /things");
    for account in 0..5_000_u128 {
        let key = groundwork::usage::MeterKey {
            account: uuid::Uuid::from_u128(account),
            endpoint,
            status: 200,
            minute: 29_000_000,
        };
        assert!(app.state.meter.record(key, Duration::from_millis(1), None));
    }
    flush(&app).await;
    assert_eq!(counted(&app).await, 5_000);
    assert_eq!(total(&app).await, 5_000);
}

async fn maintain(app: &TestApp) {
    for enqueued in [
        job_queue::enqueue(&app.state.db, &MaintainPartitions::default(), None).await,
        job_queue::enqueue(&app.state.db, &PurgeUsage::default(), None).await,
    ] {
        enqueued.expect("it is enqueued");
    }
    app.run_jobs().await;
}

async fn exists(app: &TestApp, table: &str) -> bool {
    let there = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table);
    there.fetch_one(&app.owner_db).await.expect("it answers")
}

#[tokio::test]
async fn months_are_made_ahead_and_dropped_once_they_were_kept_for_long_enough() {
    let app = TestApp::with(&[("USAGE_RETENTION", "2mo"), ("EVENTS_RETENTION", "100d")]).await;
    let mut owner = app.owner().await;
    // The clock of the test says the 14th of March 2026.
    for table in ["api_usage", "events", "audit_log"] {
        for (month, next) in [
            ("202511", "2025-12-01"),
            ("202512", "2026-01-01"),
            ("202601", "2026-02-01"),
        ] {
            let start = format!("{}-{}-01", &month[..4], &month[4..]);
            let sql = format!(
                "CREATE TABLE {table}_{month} PARTITION OF {table} FOR VALUES FROM ('{start} 00:00+00') TO ('{next} 00:00+00')"
            );
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut owner)
                .await
                .expect("the owner may");
        }
    }
    let ada = app.sign_in("ada").await;
    ask(&ada, 1).await;
    ada.post(EVENTS, serde_json::json!({ "type": "x" }))
        .await
        .assert_status(201);
    flush(&app).await;
    let old = "INSERT INTO api_usage SELECT user_id, endpoint, 1, 1, 1, 200, '2025-10-05 00:00+00' FROM api_usage LIMIT 1;
        INSERT INTO usage_totals VALUES (gen_random_uuid(), '2025-12-01', 7), (gen_random_uuid(), '2026-01-01', 7);
        INSERT INTO usage_writers VALUES (gen_random_uuid(), 7, '2026-03-01'), (gen_random_uuid(), 7, '2026-03-10')";
    execute(&mut owner, old).await;
    maintain(&app).await;

    let next = "SELECT to_char((now() AT TIME ZONE 'UTC') + interval '3 months', 'YYYYMM')";
    let next: String = sqlx::query_scalar(next)
        .fetch_one(&mut owner)
        .await
        .expect("it answers");
    for (table, kept) in [
        // Kept are two months, from the 14th of January.
        ("api_usage", [false, false, true]),
        // Kept are a hundred days, from the 4th of December.
        ("events", [false, true, true]),
        ("audit_log", [true, true, true]),
    ] {
        for (month, kept) in ["202511", "202512", "202601"].into_iter().zip(kept) {
            let name = format!("{table}_{month}");
            assert_eq!(exists(&app, &name).await, kept, "{name}");
        }
        assert!(exists(&app, &format!("{table}_{next}")).await);
        assert!(exists(&app, &format!("{table}_default")).await);
    }
    assert_eq!(
        counted(&app).await,
        2,
        "what has no month of its own goes by its age"
    );
    let count = async |sql: &'static str| -> i64 {
        let mut conn = app.owner().await;
        let count = sqlx::query_scalar(sql).fetch_one(&mut conn).await;
        conn.close().await.expect("it closes");
        count.expect("it counts")
    };
    assert_eq!(
        count("SELECT count(*) FROM usage_totals WHERE month < '2026-02-01'").await,
        1
    );
    assert_eq!(
        count("SELECT count(*) FROM usage_writers").await,
        2,
        "one is of now"
    );
    maintain(&app).await;
    app.clock.advance(60 * DAY);
    maintain(&app).await;
    assert!(!exists(&app, "api_usage_202601").await);
    assert!(exists(&app, "audit_log_202511").await);
}

#[tokio::test]
async fn only_old_months_of_known_tables_can_be_dropped() {
    let app = TestApp::new().await;
    let now = Clock::system().now();
    for (table, days) in [
        ("users", 400),
        ("audit_log", 300),
        ("public.api_usage", 400),
        ("api_usage; DROP TABLE users", 400),
        ("api_usage", 20),
        ("events", 0),
        ("events", -1),
    ] {
        let refused = sqlx::query("SELECT drop_month_partitions($1, $2)")
            .bind(table)
            .bind(now - chrono::TimeDelta::days(days))
            .execute(&app.state.db)
            .await;
        let error = refused.expect_err(table).to_string();
        assert!(
            error.contains("not a table whose months may be dropped"),
            "{error}"
        );
    }
}
