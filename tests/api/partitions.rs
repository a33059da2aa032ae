//! Partitions by month: rows that came too early never keep a month from its partition.

use std::time::Duration;

use groundwork::partitions::{self, MaintainPartitions};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::harness::TestApp;

const TABLES: [&str; 5] = [
    "audit_log",
    "api_usage",
    "usage_hourly",
    "usage_daily",
    "events",
];

async fn execute(conn: &mut PgConnection, sql: impl Into<String>) {
    let sql = sql.into();
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(conn)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn maintain(app: &TestApp) {
    job_queue::enqueue(&app.state.db, &MaintainPartitions::default(), None)
        .await
        .expect("it is enqueued");
    app.run_jobs().await;
}

/// A row of each table at a time of the database's clock, such as `interval '4 months'` from now.
fn rows_in(ahead: &str) -> String {
    let month =
        format!("(date_trunc('month', now() AT TIME ZONE 'UTC') + {ahead}) AT TIME ZONE 'UTC'");
    format!(
        "INSERT INTO audit_log (id, created_at, event) VALUES (gen_random_uuid(), {month}, 'test');
         INSERT INTO api_usage VALUES (gen_random_uuid(), 'GET /x', 3, 4, 2, 404, {month});
         INSERT INTO events VALUES (gen_random_uuid(), gen_random_uuid(), 'x', '{{}}', {month});"
    )
}

async fn count(app: &TestApp, sql: impl Into<String>) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.into()))
        .fetch_one(&mut app.owner().await)
        .await
        .expect("it counts")
}

async fn misplaced(app: &TestApp) -> i64 {
    let mut rows = 0;
    for table in TABLES {
        rows += count(app, format!("SELECT count(*) FROM {table}_default")).await;
    }
    rows
}

async fn months_ahead(app: &TestApp) -> Vec<i32> {
    let mut months = Vec::new();
    for table in TABLES {
        let state = partitions::state_of(&app.state.db, table).await;
        months.push(state.expect("the runtime role may").months_ahead);
    }
    months
}

/// Removes the partitions of the coming months, as if they were still far away.
async fn forget_months(app: &TestApp) {
    let mut owner = app.owner().await;
    for table in TABLES {
        let children: Vec<String> = sqlx::query_scalar(
            "SELECT inhrelid::regclass::text FROM pg_inherits
             WHERE inhparent = $1::regclass AND inhrelid::regclass::text ~ '_[0-9]{6}$'
                 AND right(inhrelid::regclass::text, 6) > to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')",
        )
        .bind(table)
        .fetch_all(&mut owner)
        .await
        .expect("it answers");
        for child in children {
            execute(&mut owner, format!("DROP TABLE {child}")).await;
        }
    }
}

#[tokio::test]
async fn a_row_dated_months_ahead_moves_into_the_partition_of_its_month() {
    let app = TestApp::new().await;
    forget_months(&app).await;
    execute(
        &mut app.owner().await,
        rows_in("interval '2 months 3 days'"),
    )
    .await;
    // api_usage, its two rollups, and one row of each other table.
    assert_eq!(misplaced(&app).await, 5);
    maintain(&app).await;
    assert_eq!(misplaced(&app).await, 0);
    assert_eq!(months_ahead(&app).await, [3; 5]);
    for table in TABLES {
        assert_eq!(
            count(
                &app,
                format!("SELECT count(*) FROM {table} WHERE created_at > now()")
            )
            .await,
            1,
            "{table}"
        );
    }
    let constraints = "SELECT count(*) FROM pg_constraint WHERE conname = 'month_check'";
    assert_eq!(count(&app, constraints).await, 0);
    maintain(&app).await;
}

#[tokio::test]
async fn rows_of_past_months_and_of_this_one_move_as_well_and_far_ones_stay() {
    let app = TestApp::new().await;
    let this = "to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')";
    let mut owner = app.owner().await;
    for table in TABLES {
        let drop: String = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT 'DROP TABLE {table}_' || {this}"
        )))
        .fetch_one(&mut owner)
        .await
        .expect("it answers");
        execute(&mut owner, drop).await;
    }
    assert_eq!(months_ahead(&app).await, [-1; 5]);
    for ahead in [
        "interval '0 months'",
        "interval '-5 months'",
        "interval '40 years'",
    ] {
        execute(&mut owner, rows_in(ahead)).await;
    }
    maintain(&app).await;
    assert_eq!(months_ahead(&app).await, [3; 5]);
    assert_eq!(misplaced(&app).await, 5, "those of 40 years ahead");
    for table in TABLES {
        assert_eq!(
            count(&app, format!("SELECT count(*) FROM {table}")).await,
            3
        );
    }
    let state = partitions::state_of(&app.state.db, "events").await;
    assert_eq!(state.expect("it may").default_rows, 1);
}

#[tokio::test]
async fn writers_beside_the_move_neither_fail_nor_get_lost() {
    let app = TestApp::new().await;
    forget_months(&app).await;
    let event = "INSERT INTO events SELECT gen_random_uuid(), gen_random_uuid(), 'x', '{}',
        now() + interval '1 month' FROM generate_series(1, $1)";
    let insert = async |conn: &mut PgConnection, rows: i32| {
        sqlx::query(event)
            .bind(rows)
            .execute(conn)
            .await
            .map(|_| rows)
    };
    let mut owner = app.owner().await;
    insert(&mut owner, 20_000).await.expect("it is stored");
    let writing = async {
        let (mut rows, mut longest) = (0, Duration::ZERO);
        let mut writer = app.owner().await;
        for _ in 0..300 {
            let began = std::time::Instant::now();
            rows += insert(&mut writer, 1).await.expect("it is stored");
            longest = longest.max(began.elapsed());
        }
        (rows, longest)
    };
    let ((), (rows, longest)) = tokio::join!(maintain(&app), writing);
    assert_eq!(
        count(&app, "SELECT count(*) FROM events").await,
        20_000 + i64::from(rows)
    );
    assert_eq!(misplaced(&app).await, 0);
    assert!(longest < Duration::from_mins(1), "{longest:?}");
}

#[tokio::test]
async fn a_month_that_cannot_be_attached_fails_the_job_and_is_tried_again() {
    let mut app = TestApp::new().await;
    app.expect_dead_jobs();
    forget_months(&app).await;
    let next: String = sqlx::query_scalar(
        "SELECT to_char((now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYYMM')",
    )
    .fetch_one(&app.owner_db)
    .await
    .expect("it answers");
    // Somebody detached it.
    execute(
        &mut app.owner().await,
        format!("CREATE TABLE events_{next} (LIKE events INCLUDING ALL)"),
    )
    .await;
    maintain(&app).await;
    let failed = "SELECT count(*) FROM graphile_worker._private_jobs WHERE last_error LIKE '%events%exists%'";
    assert_eq!(count(&app, failed).await, 1, "the job says why");
    assert_eq!(
        months_ahead(&app).await,
        [3, 3, 3, 3, 0],
        "the other tables have their months"
    );
    execute(&mut app.owner().await, format!("DROP TABLE events_{next}")).await;
    app.hurry_jobs().await;
    app.run_jobs().await;
    assert_eq!(months_ahead(&app).await, [3; 5]);
}

#[tokio::test]
async fn attaching_waits_for_a_lock_a_second_at_a_time() {
    let app = TestApp::new().await;
    forget_months(&app).await;
    let mut writer = app.owner().await;
    // A long transaction that wrote to the default partition.
    execute(
        &mut writer,
        "BEGIN; INSERT INTO events VALUES (gen_random_uuid(), gen_random_uuid(), 'x', '{}', now() + interval '1 month')",
    )
    .await;
    let attach = "SELECT attach_month_partition('events', (now() + interval '1 month')::date)";
    let began = std::time::Instant::now();
    let refused = sqlx::query(attach).execute(&app.state.db).await;
    let refused = refused.expect_err("the writer is in the way");
    assert!(database::is_lock_timeout(&refused), "{refused}");
    // Without a timeout of its own it would wait for that of the session.
    assert!(began.elapsed() < Duration::from_secs(15));
    execute(&mut writer, "COMMIT").await;
    maintain(&app).await;
    assert_eq!(misplaced(&app).await, 0);
}

#[tokio::test]
async fn only_known_tables_and_sensible_months_get_a_partition() {
    let app = TestApp::new().await;
    for (table, month) in [
        ("users", "2026-03-01"),
        ("public.events", "2026-03-01"),
        ("events; DROP TABLE users", "2026-03-01"),
        ("events", "1969-12-01"),
        ("events", "2999-01-01"),
    ] {
        let refused = sqlx::query("SELECT attach_month_partition($1, $2::date)")
            .bind(table)
            .bind(month.parse::<chrono::NaiveDate>().expect("it is a day"))
            .execute(&app.state.db)
            .await;
        let error = refused.expect_err(table).to_string();
        assert!(error.contains("not a table that is partitioned"), "{error}");
    }
}
