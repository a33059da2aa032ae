//! Adds up old counts by the hour.

use chrono::{DateTime, Utc};
use database::Db;

use crate::scope::{self, Exception, Scope};

/// Rows by the minute in a batch.
const BATCH: i64 = 5_000;

/// Replaces the oldest counts by the minute from before a time by those of their hour, in one transaction; returns how many
/// were replaced, fewer than a batch when none are left.
///
/// The row of an hour is that of its first minute. One that metering writes at the same time is added to, or replaced by a
/// later batch. The rollups stay as they are: `usage.rolls_up` disables the triggers that update them for earlier releases.
pub(in super::super) async fn compact(
    db: &Db,
    before: DateTime<Utc>,
) -> Result<Compacted, sqlx::Error> {
    let mut tx = scope::begin(db, Scope::Exception(Exception::Job)).await?;
    sqlx::query_scalar!("SELECT set_config('usage.rolls_up', 'yes', true)")
        .fetch_one(&mut *tx)
        .await?;
    let counts = sqlx::query!(
        r#"WITH old AS MATERIALIZED (
               SELECT user_id, created_at, endpoint, status_code FROM api_usage
               WHERE created_at < $1 AND extract(minute FROM created_at AT TIME ZONE 'UTC') <> 0
               ORDER BY created_at LIMIT $2
               FOR UPDATE SKIP LOCKED
           ), gone AS (
               DELETE FROM api_usage AS u USING old
               WHERE u.user_id = old.user_id AND u.created_at = old.created_at
                   AND u.endpoint = old.endpoint AND u.status_code = old.status_code
               RETURNING u.user_id, u.account_id, u.created_at, u.endpoint, u.status_code, u.request_count,
                         u.response_time_ms, u.response_time_max_ms
           ), hours AS (
               INSERT INTO api_usage AS u (user_id, account_id, created_at, endpoint, status_code, request_count,
                                           response_time_ms, response_time_max_ms)
               SELECT user_id, account_id, date_trunc('hour', created_at, 'UTC'), endpoint, status_code,
                      sum(request_count)::int8, sum(response_time_ms), max(response_time_max_ms)
               FROM gone GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 3, 4, 5
               ON CONFLICT (user_id, created_at, endpoint, status_code) DO UPDATE SET
                   request_count = u.request_count + excluded.request_count,
                   response_time_ms = u.response_time_ms + excluded.response_time_ms,
                   response_time_max_ms = greatest(u.response_time_max_ms, excluded.response_time_max_ms)
               RETURNING 1
           )
           SELECT (SELECT count(*) FROM gone) AS "minutes!", (SELECT count(*) FROM hours) AS "hours!""#,
        before,
        BATCH,
    )
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Compacted {
        minutes: counts.minutes,
        hours: counts.hours,
        is_last: counts.minutes < BATCH,
    })
}

/// Outcome of a batch.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Compacted {
    /// Rows that were replaced.
    pub minutes: i64,
    /// Rows that replace them, new ones and others.
    pub hours: i64,
    /// None are left, except those that another process is replacing.
    pub is_last: bool,
}
