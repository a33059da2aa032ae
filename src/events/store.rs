//! Every statement on `events`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{NewEvent, StoredEvent};
use crate::ids::UserId;

/// Events of one account as columns.
#[derive(Debug, Default)]
pub(super) struct Columns {
    ids: Vec<Uuid>,
    times: Vec<DateTime<Utc>>,
    types: Vec<String>,
    data: Vec<Value>,
}

impl Columns {
    pub(super) fn push(&mut self, stored: StoredEvent, event: NewEvent) {
        self.ids.push(stored.id.0);
        self.times.push(stored.created_at);
        self.types.push(event.r#type.into_text());
        self.data.push(event.data.into_value());
    }

    pub(super) fn len(&self) -> u64 {
        self.ids.len() as u64
    }
}

/// Stores events, except those whose ids are there already; answers how many were not.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    events: &Columns,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO events (id, user_id, event_type, event_data, created_at)
         SELECT id, $1, event_type, event_data, created_at
         FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::jsonb[])
             AS given (id, created_at, event_type, event_data)
         ORDER BY created_at, id
         ON CONFLICT (user_id, created_at, id) DO NOTHING",
        user_id.0,
        &events.ids,
        &events.times,
        &events.types,
        &events.data,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// How many of these events are stored just as they are.
pub(super) async fn count_same(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    events: &Columns,
) -> Result<u64, sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!"
           FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::jsonb[])
               AS given (id, created_at, event_type, event_data)
           JOIN events AS e USING (id, created_at, event_type, event_data)
           WHERE e.user_id = $1"#,
        user_id.0,
        &events.ids,
        &events.times,
        &events.types,
        &events.data,
    )
    .fetch_one(conn)
    .await?;
    Ok(u64::try_from(count).unwrap_or_default())
}
