//! The cost model of docs/scale.md: bytes of a row, measured, and the arithmetic on them.

use std::fs;
use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _};

use crate::harness::TestApp;

/// Rows that are written to measure a table. Enough that pages which are half full do not count.
const ROWS: u32 = 20_000;

/// By how much a measured row may differ from the page.
const TOLERANCE: f64 = 0.2;

/// Tables in the order in which they can be filled, each with the statement that writes row `n` of `$1`.
const FILLED: [(&str, &str); 11] = [
    (
        "users",
        "INSERT INTO users (id, email, password_hash, first_name, last_name, email_verified_at, created_at, updated_at)
         SELECT md5(n::text)::uuid, 'somebody.' || n || '@example.com', repeat('x', 97), 'Somebody', 'Name ' || n, at, at, at",
    ),
    (
        "accounts",
        // Personal ones are added with their users.
        "INSERT INTO accounts (id, kind, name, created_at, updated_at)
         SELECT md5('o' || n)::uuid, 'organisation', 'Somebody ' || n, at, at",
    ),
    (
        "sessions",
        "INSERT INTO sessions (id, user_id, created_at, expires_at, user_agent, ip, token_hash, idle_expires_at)
         SELECT md5('s' || n)::uuid, id, at, at, repeat('Mozilla/5.0 ', 9), '203.0.113.7', sha256(n::text::bytea), at",
    ),
    (
        "consents",
        "INSERT INTO consents (user_id, kind, version, is_given, source, ip, user_agent, created_at)
         SELECT id, 'terms', '2026-01-01', true, 'sign_up', '203.0.113.7', repeat('Mozilla/5.0 ', 9), at",
    ),
    (
        "api_usage",
        "INSERT INTO api_usage (user_id, account_id, endpoint, request_count, response_time_ms, response_time_max_ms,
                                status_code, created_at)
         SELECT id, id, 'GET /api/v1/users/me', 3, 4.5, 2.5, 200, date_trunc('minute', at, 'UTC')",
    ),
    (
        "usage_hourly",
        "INSERT INTO usage_hourly (user_id, account_id, endpoint, request_count, client_errors, server_errors,
                                   response_time_ms, response_time_max_ms, created_at)
         SELECT id, id, 'GET /api/v1/users/me', 3, 0, 0, 4.5, 2.5, date_trunc('hour', at, 'UTC')",
    ),
    (
        "usage_daily",
        "INSERT INTO usage_daily (user_id, account_id, endpoint, request_count, client_errors, server_errors,
                                  response_time_ms, response_time_max_ms, created_at)
         SELECT id, id, 'GET /api/v1/users/me', 3, 0, 0, 4.5, 2.5, date_trunc('day', at, 'UTC')",
    ),
    (
        "events",
        "INSERT INTO events (id, user_id, account_id, event_type, event_data, created_at)
         SELECT md5('e' || n)::uuid, id, id, 'order.created', jsonb_build_object('order', n, 'note', repeat('x', 60)), at",
    ),
    (
        "audit_log",
        "INSERT INTO audit_log (id, created_at, event, user_id, actor_id, session_id, request_id, ip, user_agent, account_id)
         SELECT md5('a' || n)::uuid, at, 'login_succeeded', id, id, id, md5('r' || n), '203.0.113.7',
                repeat('Mozilla/5.0 ', 9), id",
    ),
    (
        "idempotency_keys",
        "INSERT INTO idempotency_keys (account_id, user_id, key_hash, request_mac, holder, locked_until, status, body,
                                       created_at, expires_at)
         SELECT id, id, sha256(n::text::bytea), sha256('x'), id, at, 201, convert_to(repeat(md5(n::text), 16), 'UTF8'), at, at",
    ),
    (
        "payments",
        "INSERT INTO payments (id, user_id, account_id, stripe_charge_id, stripe_payment_intent_id, amount, currency, status,
                               detailed_status, created_at, updated_at)
         SELECT md5('p' || n)::uuid, id, id, 'ch_' || md5(n::text), 'pi_' || md5(n::text), 1999, 'USD', 'succeeded',
                'succeeded', at, at",
    ),
];

/// Rows, bytes of a row, and the total, of each table of the page.
fn page() -> Vec<(String, f64, f64, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scale.md");
    let text = fs::read_to_string(path).expect("it is there");
    let number = |cell: &str| cell.replace(',', "").parse::<f64>().ok();
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, rows, bytes, total] = cells[..] else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        Some((
            name.to_owned(),
            number(rows)?,
            number(bytes)?,
            total.to_owned(),
        ))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn the_totals_of_the_page_are_rows_times_bytes() {
    let page = page();
    assert!(page.len() >= FILLED.len(), "{page:?}");
    for (table, rows, bytes, total) in page {
        let gigabytes = rows * bytes / 1e9;
        let expected = if gigabytes < 10.0 {
            format!("{gigabytes:.1} GB")
        } else {
            format!("{gigabytes:.0} GB")
        };
        assert_eq!(total, expected, "{table}");
    }
}

#[tokio::test]
async fn a_row_of_each_table_takes_what_the_page_says() {
    let app = TestApp::new().await;
    let page = page();
    let mut wrong = Vec::new();
    for (table, statement) in FILLED {
        let sizes = format!(
            "SELECT coalesce(
                 (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{table}') WHERE isleaf),
                 pg_total_relation_size('{table}')
             )::float8"
        );
        let size = async || -> f64 {
            let size = sqlx::query_scalar(AssertSqlSafe(sizes.clone())).fetch_one(&app.owner_db);
            size.await.expect("it has a size")
        };
        let before = size().await;
        let filling = format!(
            "{statement} FROM (
                 SELECT n, md5(n::text)::uuid AS id, $2::timestamptz - make_interval(secs => n) AS at
                 FROM generate_series(1, $1) AS n
             ) AS row"
        );
        let mut owner = app.owner().await;
        let mut tx = owner.begin().await.expect("it begins");
        // Otherwise triggers would fill the rollups.
        sqlx::query("SELECT set_config('usage.rolls_up', 'yes', true)")
            .execute(&mut *tx)
            .await
            .expect("it is set");
        sqlx::query(AssertSqlSafe(filling))
            .bind(i32::try_from(ROWS).expect("it is small"))
            .bind(app.clock.now())
            .execute(&mut *tx)
            .await
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        tx.commit().await.expect("it is committed");
        let measured = (size().await - before) / f64::from(ROWS);
        let known = page.iter().find(|row| row.0 == table).map(|row| row.2);
        println!("{table}: {measured:.0} bytes a row");
        if known.is_none_or(|known| (measured / known - 1.0).abs() > TOLERANCE) {
            wrong.push(format!(
                "{table}: {measured:.0} bytes, the page has {known:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "docs/scale.md:\n{}", wrong.join("\n"));
}
