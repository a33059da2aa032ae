//! The account of rows that the release before writes, and of those from before the column.

use sqlx::Executor as _;

use super::{Empty, count};
use crate::harness::TestApp;

const TABLES: [&str; 10] = [
    "api_keys",
    "subscriptions",
    "payments",
    "api_usage",
    "usage_hourly",
    "usage_daily",
    "usage_totals",
    "events",
    "event_totals",
    "audit_log",
];

/// A row of each table for each user, by the columns that the release before names.
const BY_THE_RELEASE_BEFORE: &str = "
    INSERT INTO api_keys (id, user_id, name, scopes, hint, secret_hash, created_at, expires_at)
    SELECT gen_random_uuid(), id, 'CI', ARRAY['read'], 'abcd', sha256('x'), now(), now() + interval '1 day' FROM users;
    INSERT INTO subscriptions (id, user_id, plan, status, current_period_start, current_period_end, created_at, updated_at)
    SELECT gen_random_uuid(), id, 'pro', 'active', now(), now(), now(), now() FROM users;
    INSERT INTO payments (id, user_id, amount, currency, status, created_at, updated_at)
    SELECT gen_random_uuid(), id, 1, 'USD', 'succeeded', now(), now() FROM users;
    INSERT INTO api_usage AS u (user_id, endpoint, status_code, created_at, request_count, response_time_ms, response_time_max_ms)
    SELECT id, 'GET /x', 200, date_trunc('minute', now(), 'UTC') - make_interval(days => n), 1, 1, 1
    FROM users, generate_series(0, 60, 20) AS n
    ON CONFLICT (user_id, created_at, endpoint, status_code) DO UPDATE SET request_count = u.request_count + 1;
    INSERT INTO usage_totals AS t (user_id, month, request_count) SELECT id, '2026-03-01', 1 FROM users
    ON CONFLICT ON CONSTRAINT usage_totals_pkey DO UPDATE SET request_count = t.request_count + 1;
    INSERT INTO event_totals AS t (user_id, month, event_count, byte_count) SELECT id, '2026-03-01', 1, 1 FROM users
    ON CONFLICT ON CONSTRAINT event_totals_pkey DO UPDATE SET event_count = t.event_count + 1;
    INSERT INTO events (id, user_id, event_type, event_data, created_at)
    SELECT gen_random_uuid(), id, 'a.b', '{}', now() - make_interval(days => n) FROM users, generate_series(0, 60, 20) AS n
    ON CONFLICT (user_id, created_at, id) DO NOTHING;
    INSERT INTO audit_log (id, created_at, event, user_id)
    SELECT gen_random_uuid(), now() - make_interval(days => n), 'signed_in', id FROM users, generate_series(0, 60, 20) AS n;
    INSERT INTO audit_log (id, created_at, event) VALUES (gen_random_uuid(), now(), 'sign_in_failed')";

const USERS: &str = "
    INSERT INTO users (id, email, password_hash, created_at, updated_at, email_verified_at)
    SELECT gen_random_uuid(), 'u' || n || '@example.com', 'x', now(), now(), now() FROM generate_series(1, 3) AS n";

/// Rows of a table, and those of them whose account is not that of their user.
async fn counts(database: &Empty, table: &str) -> (i64, i64) {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE account_id IS DISTINCT FROM user_id) FROM {table}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_one(&mut database.owner().await)
        .await
        .expect("the table is there")
}

async fn assert_filled(database: &Empty) {
    for table in TABLES {
        let (rows, wrong) = counts(database, table).await;
        assert!(rows >= 3, "{table}");
        assert_eq!(wrong, 0, "{table}");
    }
}

/// Makes the rows look as they did before the column.
async fn forget(database: &Empty) {
    for table in TABLES {
        let sql = format!(
            "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_account_id_check;
             SET session_replication_role = replica;
             UPDATE {table} SET account_id = NULL;
             SET session_replication_role = origin"
        );
        let mut owner = database.owner().await;
        owner
            .execute(sqlx::AssertSqlSafe(sql))
            .await
            .expect("the owner may");
    }
}

#[tokio::test]
async fn rows_of_the_release_before_get_the_personal_account_of_their_user() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    database.execute(USERS).await;
    database.execute(BY_THE_RELEASE_BEFORE).await;
    assert_filled(&database).await;
    let mut owner = database.owner().await;
    let upserts = "
        INSERT INTO usage_totals AS t (user_id, month, request_count) SELECT id, '2026-03-01', 1 FROM users
        ON CONFLICT ON CONSTRAINT usage_totals_pkey DO UPDATE SET request_count = t.request_count + 1";
    owner.execute(upserts).await.expect("it adds");
    assert_filled(&database).await;
}

#[tokio::test]
async fn rows_from_before_the_column_are_filled_once_again_and_after_an_interruption() {
    let database = Empty::new().await;
    database.migrate().await.expect("it is migrated");
    database.execute(USERS).await;
    database.execute(BY_THE_RELEASE_BEFORE).await;
    forget(&database).await;
    assert_eq!(counts(&database, "events").await, (12, 12));
    // A writer holds a row, so that the backfill waits in the middle.
    let mut writer = database.owner().await;
    let hold = "BEGIN; UPDATE usage_totals SET request_count = 9";
    writer.execute(hold).await.expect("it writes");
    let mut owner = database.owner().await;
    let fill = "CALL fill_account_ids()";
    let filling = tokio::time::timeout(std::time::Duration::from_secs(1), owner.execute(fill));
    filling.await.expect_err("it waits for the writer");
    // The connection is dropped, and its backend ends with the next statement that it cannot report.
    drop(owner);
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL fill%'",
        )
        .await;
    assert_eq!(
        counts(&database, "payments").await.1,
        0,
        "what came before stays"
    );
    assert_eq!(counts(&database, "events").await.1, 12);
    writer.execute("COMMIT").await.expect("it commits");
    assert_eq!(
        counts(&database, "usage_totals").await.1,
        0,
        "a row that is rewritten meanwhile gets its account"
    );
    for _ in 0..2 {
        database.execute(fill).await;
        assert_filled(&database).await;
    }
}

#[tokio::test]
async fn tables_of_accounts_have_an_index_that_begins_with_the_account() {
    let app = TestApp::new().await;
    let without = "SELECT count(*) FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'account_id'
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
            SELECT FROM pg_index AS i
            WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL)";
    assert_eq!(count(&mut app.owner().await, without).await, 0);
}
