//! The calls that make and drop partitions. They run with the rights of the schema's owner, who
//! keeps a list of the tables that they are for.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgExecutor;

use super::model::PartitionState;

/// The months that a table has no partition for and needs one: this month, those ahead, and those of
/// rows in the default partition.
pub(super) async fn list_missing(
    conn: impl PgExecutor<'_>,
    table: &str,
    months_ahead: i32,
) -> Result<Vec<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT month AS "month!" FROM missing_months($1, $2) AS month"#,
        table,
        months_ahead
    )
    .fetch_all(conn)
    .await
}

/// Creates and attaches a month's partition; returns how many rows it took from the default one.
pub(super) async fn attach(
    conn: impl PgExecutor<'_>,
    table: &str,
    month: NaiveDate,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT attach_month_partition($1, $2) AS "moved!""#,
        table,
        month
    )
    .fetch_one(conn)
    .await
}

/// How far ahead a table has partitions, and how many rows are in its default one.
pub async fn state_of(
    conn: impl PgExecutor<'_>,
    table: &str,
) -> Result<PartitionState, sqlx::Error> {
    sqlx::query_as!(
        PartitionState,
        r#"SELECT months_ahead AS "months_ahead!", default_rows AS "default_rows!" FROM month_partition_state($1)"#,
        table
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
