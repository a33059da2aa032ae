//! Backfill of the rollups from rows of `api_usage` that are older than they are.

use chrono::TimeDelta;
use database::Db;
use uuid::Uuid;

use crate::scope::{self, Exception, Scope};

/// Rows of a batch, which is extended to the end of the day of its last row.
const BATCH: i64 = 5_000;

/// Rolls up the next batch; returns whether there are more.
///
/// Rollups are set, not added to, from all rows of whole days of an account, so that a batch may run twice.
/// The table lock excludes writers between reading the rows and setting their sum; a writer that has not
/// committed by then adds to it afterwards. Writers lock the table before any of its rows, so that there is no
/// deadlock.
pub(in super::super) async fn backfill(db: &Db) -> Result<bool, sqlx::Error> {
    let mut tx = scope::begin(db, Scope::Exception(Exception::Job)).await?;
    sqlx::query_scalar!("SELECT set_config('lock_timeout', '1s', true)")
        .fetch_one(&mut *tx)
        .await?;
    // One process at a time.
    let position =
        sqlx::query!("SELECT user_id, day FROM usage_backfill WHERE NOT is_done FOR UPDATE")
            .fetch_optional(&mut *tx)
            .await?;
    let Some(position) = position else {
        return Ok(false);
    };
    sqlx::query("LOCK TABLE ONLY usage_hourly IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await?;
    let next = position.day + TimeDelta::days(1);
    let last = sqlx::query!(
        r#"SELECT user_id, date_trunc('day', created_at, 'UTC') AS "day!"
           FROM api_usage WHERE (user_id, created_at) >= ($1, $2)
           ORDER BY user_id, created_at OFFSET $3 LIMIT 1"#,
        position.user_id,
        next,
        BATCH,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let (last_account, last_day) = match &last {
        Some(last) => (last.user_id, last.day),
        None => (Uuid::max(), position.day),
    };
    sqlx::query!(
        "WITH by_hour AS MATERIALIZED (
             SELECT user_id, date_trunc('hour', created_at, 'UTC') AS created_at, endpoint,
                    sum(request_count)::int8 AS request_count,
                    coalesce(sum(request_count) FILTER (WHERE status_code BETWEEN 400 AND 499), 0)::int8 AS client_errors,
                    coalesce(sum(request_count) FILTER (WHERE status_code >= 500), 0)::int8 AS server_errors,
                    sum(response_time_ms) AS response_time_ms, max(response_time_max_ms) AS response_time_max_ms
             FROM api_usage
             WHERE (user_id, created_at) >= ($1, $2) AND (user_id, created_at) < ($3, $4)
             GROUP BY 1, 2, 3
         ), hourly AS (
             INSERT INTO usage_hourly (user_id, account_id, created_at, endpoint, request_count, client_errors,
                                       server_errors, response_time_ms, response_time_max_ms)
             SELECT user_id, by_hour.* FROM by_hour
             ON CONFLICT (user_id, created_at, endpoint) DO UPDATE SET
                 request_count = excluded.request_count, client_errors = excluded.client_errors,
                 server_errors = excluded.server_errors, response_time_ms = excluded.response_time_ms,
                 response_time_max_ms = excluded.response_time_max_ms
         )
         INSERT INTO usage_daily (user_id, account_id, created_at, endpoint, request_count, client_errors,
                                  server_errors, response_time_ms, response_time_max_ms)
         SELECT user_id, user_id, date_trunc('day', created_at, 'UTC'), endpoint, sum(request_count)::int8,
                sum(client_errors)::int8, sum(server_errors)::int8, sum(response_time_ms), max(response_time_max_ms)
         FROM by_hour GROUP BY 1, 3, 4
         ON CONFLICT (user_id, created_at, endpoint) DO UPDATE SET
             request_count = excluded.request_count, client_errors = excluded.client_errors,
             server_errors = excluded.server_errors, response_time_ms = excluded.response_time_ms,
             response_time_max_ms = excluded.response_time_max_ms",
        position.user_id,
        next,
        last_account,
        last_day + TimeDelta::days(1),
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "UPDATE usage_backfill SET user_id = $1, day = $2, is_done = $3",
        last_account,
        last_day,
        last.is_none(),
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(last.is_some())
}
