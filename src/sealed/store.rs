//! Statements on any sealed column, of whichever table. Needs [`Exception::Job`](crate::scope::Exception::Job).

use crypto::{KeyId, Sealed};
use sqlx::{AssertSqlSafe, FromRow, PgExecutor};
use uuid::Uuid;

use super::model::{KeyColumn, SealedColumn};

/// A value with its row.
#[derive(FromRow)]
pub(super) struct SealedRow {
    /// Values of the key columns as text, for the next statement.
    key: Vec<String>,
    /// The key as associated data.
    pub(super) ids: Vec<Uuid>,
    value: Sealed,
}

impl SealedRow {
    pub(super) const fn value(&self) -> &Sealed {
        &self.value
    }

    pub(super) fn into_cursor(self) -> Vec<String> {
        self.key
    }
}

fn join(
    column: &SealedColumn,
    separator: &str,
    part: impl Fn(usize, &KeyColumn) -> String,
) -> String {
    let parts = column.key().iter().enumerate();
    let parts: Vec<String> = parts.map(|(at, key)| part(at, key)).collect();
    parts.join(separator)
}

/// Rows under each key, by the bytes of its id.
pub(super) async fn count_by_key(
    conn: impl PgExecutor<'_>,
    column: &SealedColumn,
) -> Result<Vec<(Vec<u8>, i64)>, sqlx::Error> {
    let (table, name) = (column.table(), column.column());
    let sql = format!(
        "SELECT substr({name}, 2, 8), count(*) FROM {table} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 1"
    );
    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(conn).await
}

pub(super) async fn count_with_other_keys(
    conn: impl PgExecutor<'_>,
    column: &SealedColumn,
    key: KeyId,
) -> Result<i64, sqlx::Error> {
    let (table, name) = (column.table(), column.column());
    let sql = format!("SELECT count(*) FROM {table} WHERE substr({name}, 2, 8) <> $1");
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(key.as_bytes());
    query.fetch_one(conn).await
}

/// Locks values that are not encrypted under this key, after `cursor` in the order of the row's key. Rows that others
/// have locked are skipped.
pub(super) async fn lock_with_other_keys(
    conn: impl PgExecutor<'_>,
    column: &SealedColumn,
    key: KeyId,
    cursor: Option<&[String]>,
    most: i64,
) -> Result<Vec<SealedRow>, sqlx::Error> {
    let (table, name) = (column.table(), column.column());
    let text = join(column, ", ", |_, key| format!("{}::text", key.name()));
    let ids = join(column, ", ", |_, key| key.sql_uuids());
    let order = join(column, ", ", |_, key| key.name().to_owned());
    let after = join(column, ", ", |at, key| {
        format!("($3::text[])[{}]::{}", at + 1, key.sql_type())
    });
    let after = cursor.map_or_else(
        || "$3::text[] IS NULL".to_owned(),
        |_| format!("({order}) > ({after})"),
    );
    let sql = format!(
        "SELECT ARRAY[{text}] AS key, ARRAY[{ids}] AS ids, {name} AS value FROM {table}
         WHERE substr({name}, 2, 8) <> $1 AND {after}
         ORDER BY {order} LIMIT $2 FOR UPDATE SKIP LOCKED"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(key.as_bytes())
        .bind(most)
        .bind(cursor)
        .fetch_all(conn)
        .await
}

/// Replaces values, each only while it is the one that was read; returns the number of rows.
pub(super) async fn update(
    conn: impl PgExecutor<'_>,
    column: &SealedColumn,
    rows: &[(&SealedRow, Sealed)],
) -> Result<u64, sqlx::Error> {
    let (table, name) = (column.table(), column.column());
    let arrays = join(column, ", ", |at, _| format!("${}::text[]", at + 3));
    let names = join(column, ", ", |_, key| key.name().to_owned());
    let same = join(column, " AND ", |_, key| {
        format!("t.{0} = new.{0}::{1}", key.name(), key.sql_type())
    });
    let sql = format!(
        "UPDATE {table} AS t SET {name} = new.value
         FROM unnest($1::bytea[], $2::bytea[], {arrays}) AS new (old, value, {names})
         WHERE {same} AND t.{name} = new.old"
    );
    let old: Vec<&[u8]> = rows.iter().map(|(row, _)| row.value.as_bytes()).collect();
    let new: Vec<&[u8]> = rows.iter().map(|(_, value)| value.as_bytes()).collect();
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(old).bind(new);
    for at in 0..column.key().len() {
        let values: Vec<&str> = rows.iter().map(|(row, _)| &*row.key[at]).collect();
        query = query.bind(values);
    }
    Ok(query.execute(conn).await?.rows_affected())
}
