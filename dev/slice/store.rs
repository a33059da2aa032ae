//! Every statement on `sample_items`.

use chrono::{DateTime, Utc};
use http_toolkit::{PageSize, TimeCursor};
use sqlx::PgExecutor;

use super::model::{SampleItem, SampleItemName};
use crate::ids::{AccountId, SampleItemId};

pub(super) async fn count(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM sample_items WHERE account_id = $1"#,
        account_id.0,
    )
    .fetch_one(conn)
    .await
}

/// Newest first.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<SampleItem>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        SampleItem,
        r#"SELECT id AS "id: SampleItemId", name AS "name: SampleItemName", created_at, updated_at
           FROM sample_items
           WHERE account_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
           ORDER BY created_at DESC, id DESC
           LIMIT $4"#,
        account_id.0,
        created_at,
        id,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SampleItemId,
) -> Result<Option<SampleItem>, sqlx::Error> {
    sqlx::query_as!(
        SampleItem,
        r#"SELECT id AS "id: SampleItemId", name AS "name: SampleItemName", created_at, updated_at
           FROM sample_items
           WHERE account_id = $1 AND id = $2"#,
        account_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SampleItemId,
    name: &SampleItemName,
    now: DateTime<Utc>,
) -> Result<SampleItem, sqlx::Error> {
    sqlx::query_as!(
        SampleItem,
        r#"INSERT INTO sample_items (id, account_id, name, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $4)
           RETURNING id AS "id: SampleItemId", name AS "name: SampleItemName", created_at, updated_at"#,
        id.0,
        account_id.0,
        name.as_str(),
        now,
    )
    .fetch_one(conn)
    .await
}

/// `None` if the account has no such sample item.
pub(super) async fn update(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SampleItemId,
    name: &SampleItemName,
    now: DateTime<Utc>,
) -> Result<Option<SampleItem>, sqlx::Error> {
    sqlx::query_as!(
        SampleItem,
        r#"UPDATE sample_items SET name = $3, updated_at = $4
           WHERE account_id = $1 AND id = $2
           RETURNING id AS "id: SampleItemId", name AS "name: SampleItemName", created_at, updated_at"#,
        account_id.0,
        id.0,
        name.as_str(),
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Returns false if the account has no such sample item.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SampleItemId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM sample_items WHERE account_id = $1 AND id = $2",
        account_id.0,
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes sample items of organisations that were deleted before a time. The purge of organisations keeps the row of one
/// that has paid, so that the cascade does not suffice.
pub(super) async fn delete_of_deleted(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM sample_items WHERE id IN (
             SELECT s.id FROM accounts AS a JOIN sample_items AS s ON s.account_id = a.id
             WHERE a.deleted_at < $1 LIMIT $2 FOR UPDATE OF s SKIP LOCKED
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
