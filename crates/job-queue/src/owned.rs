//! Rows and jobs of one owner, for the erasure of an account.

use sqlx::PgExecutor;
use sqlx::types::Uuid;

/// Rows whose column names their owner. Needs an index that begins with the column.
#[derive(Clone, Copy, Debug)]
pub struct OwnedRows {
    table: &'static str,
    column: &'static str,
}

impl OwnedRows {
    #[must_use]
    pub const fn new(table: &'static str, column: &'static str) -> Self {
        Self { table, column }
    }

    /// Name of the table.
    #[must_use]
    pub const fn table(&self) -> &'static str {
        self.table
    }

    /// Deletes about `most` rows of the owner; returns how many, and 0 once none is left. The owner is compared twice,
    /// since the place of a row is unique within its partition only.
    pub async fn delete(
        self,
        conn: impl PgExecutor<'_>,
        owner: Uuid,
        most: i64,
    ) -> Result<u64, sqlx::Error> {
        let Self { table, column } = self;
        let sql = format!(
            "DELETE FROM {table} WHERE {column} = $1 AND ctid = ANY (ARRAY(
                 SELECT ctid FROM {table} WHERE {column} = $1 LIMIT $2
             ))"
        );
        let done = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(owner)
            .bind(most)
            .execute(conn)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Deletes the jobs of which a field of the payload is one of `values`: one of these fields or, with `None`, any. Jobs
/// that run are left.
pub async fn delete_jobs(
    conn: impl PgExecutor<'_>,
    values: &[String],
    fields: Option<&[String]>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM graphile_worker._private_jobs AS j WHERE locked_at IS NULL
             AND CASE json_typeof(payload) WHEN 'object' THEN EXISTS (
                 SELECT FROM json_each_text(payload) AS field
                 WHERE field.value = ANY ($1) AND ($2::text[] IS NULL OR field.key = ANY ($2))) END",
    )
    .bind(values)
    .bind(fields)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
