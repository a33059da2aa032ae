//! Completion of partitioned indexes, which PostgreSQL cannot build concurrently.
//!
//! A migration creates one by `CREATE INDEX … ON ONLY`, which leaves it invalid. After the migrations each partition
//! gets its index beside writers, and the last one that is attached makes the whole valid.

use std::time::Duration;

use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{drop_invalid_index, set_lock_timeout};

/// An index that a partition lacks. All names are quoted.
#[derive(Debug, FromRow)]
struct MissingIndex {
    parent: String,
    partition: String,
    name: String,
    /// Empty or `UNIQUE`.
    uniqueness: String,
    /// The definition from `USING` on.
    columns: String,
}

/// The first partition without an index that its table has. The default partition is the last, since the others can
/// be dropped meanwhile, and only attaching an index makes the whole valid. Names of indexes are cut off as
/// PostgreSQL does it, and begin with the partition's.
const NEXT: &str = "
    SELECT format('public.%I', ic.relname) AS parent, format('public.%I', pc.relname) AS partition,
           quote_ident(left(pc.relname || '_' || regexp_replace(ic.relname, '^' || tc.relname || '_', ''), 63)) AS name,
           CASE WHEN i.indisunique THEN 'UNIQUE' ELSE '' END AS uniqueness,
           substr(d.definition, strpos(d.definition, ' USING ')) AS columns
    FROM pg_index AS i
    JOIN pg_class AS ic ON ic.oid = i.indexrelid AND ic.relkind = 'I'
    JOIN pg_class AS tc ON tc.oid = i.indrelid AND tc.relnamespace = 'public'::regnamespace
    JOIN pg_inherits AS p ON p.inhparent = i.indrelid
    JOIN pg_class AS pc ON pc.oid = p.inhrelid AND pc.relkind = 'r'
    CROSS JOIN pg_get_indexdef(i.indexrelid) AS d (definition)
    WHERE NOT i.indisvalid AND NOT EXISTS (
        SELECT FROM pg_inherits AS a JOIN pg_index AS own ON own.indexrelid = a.inhrelid
        WHERE a.inhparent = i.indexrelid AND own.indrelid = pc.oid)
    ORDER BY ic.relname, pg_get_expr(pc.relpartbound, pc.oid) = 'DEFAULT', pc.relname
    LIMIT 1";

/// Builds what partitioned indexes of `public` lack, one partition after another. It continues after an
/// interruption, and takes in partitions that are attached meanwhile. Partitions that are partitioned themselves
/// are passed over.
///
/// Builds have no lock timeout, since nobody queues behind them; attaching has.
pub async fn complete_partitioned_indexes(
    connection: &mut PgConnection,
    lock_timeout: Duration,
) -> Result<(), sqlx::Error> {
    while let Some(missing) = next(connection).await? {
        match complete(connection, &missing, lock_timeout).await {
            // The partition was dropped; if not, the failure is another one.
            Err(error) if is_gone(&error) && !exists(connection, &missing.partition).await? => {}
            done => done?,
        }
    }
    Ok(())
}

async fn next(connection: &mut PgConnection) -> Result<Option<MissingIndex>, sqlx::Error> {
    sqlx::query_as(NEXT).fetch_optional(connection).await
}

async fn complete(
    connection: &mut PgConnection,
    missing: &MissingIndex,
    lock_timeout: Duration,
) -> Result<(), sqlx::Error> {
    let MissingIndex {
        parent,
        partition,
        name,
        uniqueness,
        columns,
    } = missing;
    tracing::info!(index = name, "building the index of a partition");
    set_lock_timeout(connection, Duration::ZERO).await?;
    drop_invalid_index(connection, &format!("public.{name}")).await?;
    let build = format!(
        "CREATE {uniqueness} INDEX CONCURRENTLY IF NOT EXISTS {name} ON {partition}{columns}"
    );
    sqlx::raw_sql(AssertSqlSafe(build))
        .execute(&mut *connection)
        .await?;
    set_lock_timeout(connection, lock_timeout).await?;
    let attach = format!("ALTER INDEX {parent} ATTACH PARTITION public.{name}");
    sqlx::raw_sql(AssertSqlSafe(attach))
        .execute(connection)
        .await?;
    Ok(())
}

/// `undefined_table`
fn is_gone(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.code().as_deref() == Some("42P01"))
}

async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(table)
        .fetch_one(connection)
        .await
}
