//! Statements on `events` and `event_totals`. The primary keys are by `user_id`, which has the account's id as well, as
//! long as a release runs that has no other column.

use chrono::{DateTime, Utc};
use clock::Month;
use job_queue::OwnedRows;
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{NewEvent, StoredEvent, Volume};
use crate::ids::AccountId;

/// Events of one account, as arrays for `unnest`.
#[derive(Debug, Default)]
pub(super) struct Columns {
    ids: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
    types: Vec<String>,
    data: Vec<Value>,
    bytes: Vec<u64>,
}

impl Columns {
    pub(super) fn push(&mut self, stored: StoredEvent, event: NewEvent) {
        self.bytes.push(event.bytes() as u64);
        self.ids.push(stored.id.0);
        self.times.push(stored.created_at);
        self.types.push(event.r#type.into_text());
        self.data.push(event.data.into_value());
    }

    pub(super) const fn len(&self) -> usize {
        self.ids.len()
    }

    /// The volume of all events, or of those with these ids.
    pub(super) fn volume(&self, ids: Option<&[Uuid]>) -> Volume {
        let mut volume = Volume::default();
        for (id, bytes) in self.ids.iter().zip(&self.bytes) {
            if ids.is_none_or(|ids| ids.contains(id)) {
                volume.events += 1;
                volume.bytes += bytes;
            }
        }
        volume
    }
}

/// Stores new events unless they exceed the quota; returns whether they are stored. The row of the month is
/// locked until the commit, so that concurrent requests cannot exceed the quota together. One statement, which names
/// the account for row-level security itself.
pub(super) async fn insert_new(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    events: &Columns,
    month: Month,
    quota: Volume,
) -> Result<bool, sqlx::Error> {
    let more = events.volume(None);
    let done = sqlx::query!(
        "WITH scope AS MATERIALIZED (SELECT set_config('app.account', $1::uuid::text, true) AS name),
         charged AS (
             INSERT INTO event_totals AS t (user_id, account_id, month, event_count, byte_count)
             SELECT $1, $1, $6, $7, $8 FROM scope
             WHERE scope.name IS NOT NULL AND $7::int8 <= $9::int8 AND $8::int8 <= $10::int8
             ON CONFLICT ON CONSTRAINT event_totals_pkey DO UPDATE SET
                 event_count = t.event_count + excluded.event_count,
                 byte_count = t.byte_count + excluded.byte_count
             WHERE t.event_count <= $9 - $7 AND t.byte_count <= $10 - $8
             RETURNING account_id
         )
         INSERT INTO events (id, user_id, account_id, event_type, event_data, created_at)
         SELECT id, account_id, account_id, event_type, event_data, created_at
         FROM charged CROSS JOIN unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::jsonb[])
             AS given (id, created_at, event_type, event_data)
         ORDER BY created_at, id",
        account_id.0,
        &events.ids,
        &events.times,
        &events.types,
        &events.data,
        month.first_day(),
        signed(more.events),
        signed(more.bytes),
        signed(quota.events),
        signed(quota.bytes),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Counts stored events towards the quota unless they exceed it; returns whether they are counted.
pub(super) async fn charge(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    month: Month,
    more: Volume,
    quota: Volume,
) -> Result<bool, sqlx::Error> {
    if more == Volume::default() {
        return Ok(true);
    }
    let done = sqlx::query!(
        "INSERT INTO event_totals AS t (user_id, account_id, month, event_count, byte_count)
         SELECT $1, $1, $2, $3, $4 WHERE $3::int8 <= $5::int8 AND $4::int8 <= $6::int8
         ON CONFLICT ON CONSTRAINT event_totals_pkey DO UPDATE SET
             event_count = t.event_count + excluded.event_count,
             byte_count = t.byte_count + excluded.byte_count
         WHERE t.event_count <= $5 - $3 AND t.byte_count <= $6 - $4",
        account_id.0,
        month.first_day(),
        signed(more.events),
        signed(more.bytes),
        signed(quota.events),
        signed(quota.bytes),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub async fn stored_in(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    month: Month,
) -> Result<Volume, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT event_count, byte_count FROM event_totals WHERE account_id = $1 AND month = $2",
        account_id.0,
        month.first_day(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or_else(Volume::default, |row| Volume {
        events: row.event_count.unsigned_abs(),
        bytes: row.byte_count.unsigned_abs(),
    }))
}

/// Deletes a batch of totals of earlier months; returns how many.
pub(super) async fn delete_totals(
    conn: impl PgExecutor<'_>,
    before: Month,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM event_totals WHERE (user_id, month) IN (
             SELECT user_id, month FROM event_totals WHERE month < $1 LIMIT 5000
         )",
        before.first_day(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Stores events whose ids are new; returns those ids.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    events: &Columns,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO events (id, user_id, account_id, event_type, event_data, created_at)
         SELECT id, $1, $1, event_type, event_data, created_at
         FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::jsonb[])
             AS given (id, created_at, event_type, event_data)
         ORDER BY created_at, id
         ON CONFLICT (user_id, created_at, id) DO NOTHING
         RETURNING id",
        account_id.0,
        &events.ids,
        &events.times,
        &events.types,
        &events.data,
    )
    .fetch_all(conn)
    .await
}

/// Counts the events that are stored with the same content.
pub(super) async fn count_same(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    events: &Columns,
) -> Result<usize, sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::jsonb[])
               AS given (id, created_at, event_type, event_data)
           JOIN events AS e USING (id, created_at, event_type, event_data)
           WHERE e.account_id = $1"#,
        account_id.0,
        &events.ids,
        &events.times,
        &events.types,
        &events.data,
    )
    .fetch_one(conn)
    .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 2] = [
    OwnedRows::new("events", "account_id"),
    OwnedRows::new("event_totals", "account_id"),
];
