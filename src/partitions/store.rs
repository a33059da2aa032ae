//! The calls that make and drop partitions. They run with the rights of the schema's owner, who
//! keeps a list of the tables that they are for.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

/// Makes the partitions of a table for this month and the next ones; answers how many were missing.
pub(super) async fn create(
    conn: impl PgExecutor<'_>,
    table: &str,
    months_ahead: i32,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT create_month_partitions($1, $2) AS "made!""#,
        table,
        months_ahead
    )
    .fetch_one(conn)
    .await
}

/// Drops the months of a table that ended before a moment; answers how many.
pub(super) async fn drop_before(
    conn: impl PgExecutor<'_>,
    table: &str,
    before: DateTime<Utc>,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT drop_month_partitions($1, $2) AS "dropped!""#,
        table,
        before
    )
    .fetch_one(conn)
    .await
}
