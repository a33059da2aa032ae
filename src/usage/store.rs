//! Statements on `api_usage`, its rollups, `usage_totals` and `usage_writers`.

mod backfill;
mod compaction;
mod reports;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use clock::Month;
use job_queue::OwnedRows;
use sqlx::PgExecutor;
use usage_meter::{Batch, EndpointNames, MeterKey, Sum, time_of};
use uuid::Uuid;

use super::model::is_charged;
use crate::ids::AccountId;

pub(super) use backfill::backfill;
pub(super) use compaction::compact;
pub(super) use reports::list;

/// One value of each row, as an array for `unnest`.
fn column<T>(batch: &Batch, value: impl Fn(&MeterKey, &Sum) -> T) -> Vec<T> {
    let rows = batch.rows.iter();
    rows.map(|(key, sum)| value(key, sum)).collect()
}

/// Adds a batch to the counts unless it was added before; returns the new totals of its accounts by month.
/// One statement, so that counts and rollups are written together. Rows are in the order of the keys, so that
/// two processes do not deadlock; with the compaction of old counts one that writes late may, and is tried again. `usage.rolls_up` disables the triggers that update the rollups for earlier
/// releases, and `app.exception` shows the statement the rows of all accounts. The primary keys are by `user_id`, which
/// has the account's id as well, as long as a release runs that has no other column.
pub(super) async fn write(
    conn: impl PgExecutor<'_>,
    batch: &Batch,
    names: &EndpointNames,
    now: DateTime<Utc>,
) -> Result<HashMap<(Uuid, Month), u64>, sqlx::Error> {
    let totals = sqlx::query!(
        r#"WITH fresh AS (
               INSERT INTO usage_writers AS w (id, batch, written_at) VALUES ($1, $2, $3)
               ON CONFLICT ON CONSTRAINT usage_writers_pkey
               DO UPDATE SET batch = excluded.batch, written_at = excluded.written_at
               WHERE w.batch < excluded.batch
               RETURNING id, set_config('usage.rolls_up', 'yes', true), set_config('app.exception', 'metering', true)
           ), counted AS MATERIALIZED (
               SELECT c.* FROM unnest($4::uuid[], $5::text[], $6::int2[], $7::timestamptz[], $8::int8[],
                                      $9::float8[], $10::float8[], $11::boolean[])
                   AS c (user_id, endpoint, status_code, created_at, request_count,
                         response_time_ms, response_time_max_ms, is_charged)
               WHERE EXISTS (SELECT FROM fresh)
           ), written AS (
               INSERT INTO api_usage AS u (user_id, account_id, endpoint, status_code, created_at, request_count,
                                           response_time_ms, response_time_max_ms)
               SELECT user_id, user_id, endpoint, status_code, created_at, request_count,
                      response_time_ms, response_time_max_ms
               FROM counted ORDER BY user_id, created_at, endpoint, status_code
               ON CONFLICT (user_id, created_at, endpoint, status_code) DO UPDATE SET
                   request_count = u.request_count + excluded.request_count,
                   response_time_ms = u.response_time_ms + excluded.response_time_ms,
                   response_time_max_ms = greatest(u.response_time_max_ms, excluded.response_time_max_ms)
           ), by_hour AS MATERIALIZED (
               SELECT user_id, date_trunc('hour', created_at, 'UTC') AS created_at, endpoint,
                      sum(request_count)::int8 AS request_count,
                      coalesce(sum(request_count) FILTER (WHERE status_code BETWEEN 400 AND 499), 0)::int8 AS client_errors,
                      coalesce(sum(request_count) FILTER (WHERE status_code >= 500), 0)::int8 AS server_errors,
                      sum(response_time_ms) AS response_time_ms, max(response_time_max_ms) AS response_time_max_ms
               FROM counted GROUP BY 1, 2, 3
           ), hourly AS (
               INSERT INTO usage_hourly AS r (user_id, account_id, created_at, endpoint, request_count, client_errors,
                                              server_errors, response_time_ms, response_time_max_ms)
               SELECT user_id, by_hour.* FROM by_hour ORDER BY user_id, created_at, endpoint
               ON CONFLICT (user_id, created_at, endpoint) DO UPDATE SET
                   request_count = r.request_count + excluded.request_count,
                   client_errors = r.client_errors + excluded.client_errors,
                   server_errors = r.server_errors + excluded.server_errors,
                   response_time_ms = r.response_time_ms + excluded.response_time_ms,
                   response_time_max_ms = greatest(r.response_time_max_ms, excluded.response_time_max_ms)
           ), daily AS (
               INSERT INTO usage_daily AS r (user_id, account_id, created_at, endpoint, request_count, client_errors,
                                             server_errors, response_time_ms, response_time_max_ms)
               SELECT user_id, user_id, date_trunc('day', created_at, 'UTC'), endpoint, sum(request_count)::int8,
                      sum(client_errors)::int8, sum(server_errors)::int8, sum(response_time_ms), max(response_time_max_ms)
               FROM by_hour GROUP BY 1, 3, 4 ORDER BY 1, 3, 4
               ON CONFLICT (user_id, created_at, endpoint) DO UPDATE SET
                   request_count = r.request_count + excluded.request_count,
                   client_errors = r.client_errors + excluded.client_errors,
                   server_errors = r.server_errors + excluded.server_errors,
                   response_time_ms = r.response_time_ms + excluded.response_time_ms,
                   response_time_max_ms = greatest(r.response_time_max_ms, excluded.response_time_max_ms)
           )
           INSERT INTO usage_totals AS t (user_id, account_id, month, request_count)
           SELECT user_id, user_id, date_trunc('month', created_at AT TIME ZONE 'UTC')::date, sum(request_count)::int8
           FROM counted WHERE is_charged GROUP BY 1, 3 ORDER BY 1, 3
           ON CONFLICT ON CONSTRAINT usage_totals_pkey
           DO UPDATE SET request_count = t.request_count + excluded.request_count
           RETURNING user_id, month, request_count"#,
        batch.writer,
        batch.number,
        now,
        &column(batch, |key, _| key.account),
        &column(batch, |key, _| names.get(key.endpoint).to_owned()),
        &column(batch, |key, _| i16::try_from(key.status).unwrap_or(i16::MAX)),
        &column(batch, |key, _| time_of(key.minute)),
        &column(batch, |_, sum| i64::try_from(sum.requests).unwrap_or(i64::MAX)),
        &column(batch, |_, sum| sum.total.as_secs_f64() * 1e3),
        &column(batch, |_, sum| sum.longest.as_secs_f64() * 1e3),
        &column(batch, |key, _| is_charged(key.status)),
    )
    .fetch_all(conn)
    .await?;
    let totals = totals.into_iter().map(|row| {
        let account = (row.user_id, Month::from(row.month));
        (
            account,
            u64::try_from(row.request_count).unwrap_or_default(),
        )
    });
    Ok(totals.collect())
}

/// Charged requests of an account in a month.
pub async fn find_total(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    month: NaiveDate,
) -> Result<u64, sqlx::Error> {
    let total = sqlx::query_scalar!(
        "SELECT request_count FROM usage_totals WHERE account_id = $1 AND month = $2",
        account_id.0,
        month,
    )
    .fetch_optional(conn)
    .await?;
    Ok(total.map_or(0, |count| u64::try_from(count).unwrap_or_default()))
}

pub(super) async fn purge(
    conn: impl PgExecutor<'_>,
    months_before: NaiveDate,
    writers_before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH totals AS (DELETE FROM usage_totals WHERE month < $1)
         DELETE FROM usage_writers WHERE written_at < $2",
        months_before,
        writers_before,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Requests of an account in each hour that began in a time and has ended by its end. Those that failed by our fault do not
/// count.
pub async fn list_closed_hours(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT created_at AS hour, sum(request_count - server_errors)::int8 AS "count!" FROM usage_hourly
           WHERE account_id = $1 AND created_at >= $2 AND created_at < date_trunc('hour', $3, 'UTC')
           GROUP BY created_at"#,
        account_id.0,
        from,
        until,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.hour, row.count)).collect())
}

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 4] = [
    OwnedRows::new("api_usage", "account_id"),
    OwnedRows::new("usage_hourly", "account_id"),
    OwnedRows::new("usage_daily", "account_id"),
    OwnedRows::new("usage_totals", "account_id"),
];
