//! Migration runner.
//!
//! `sqlx`'s own lock is not used: it waits inside the server, which deadlocks with a concurrent index
//! build of the replica that holds it, and it is not released on an error. [`try_lock`] polls instead.

use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};
use tokio::time::sleep;

use super::millis;

const LOCK_POLLED_EVERY: Duration = Duration::from_millis(100);

/// Takes an advisory lock of the session within `wait`; returns whether it was free.
pub async fn try_lock(
    connection: &mut PgConnection,
    key: i64,
    wait: Duration,
) -> Result<bool, sqlx::Error> {
    let started = Instant::now();
    loop {
        let is_locked: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(key)
            .fetch_one(&mut *connection)
            .await?;
        if is_locked || started.elapsed() >= wait {
            return Ok(is_locked);
        }
        sleep(LOCK_POLLED_EVERY).await;
    }
}

/// Runs the migrations that are not applied yet, in order. The caller holds the migration lock.
///
/// A change of a table waits `lock_timeout` for its readers, and no longer: all later ones queue up
/// behind it. A `-- no-transaction` migration has no such limit: a concurrent index build waits for
/// older transactions, but nobody queues behind it. An invalid index that an earlier, interrupted
/// build left is dropped first.
pub async fn run_migrations(
    connection: &mut PgConnection,
    migrations: &[Migration],
    lock_timeout: Duration,
) -> Result<(), MigrateError> {
    for group in migrations.chunk_by(|a, b| a.no_tx == b.no_tx) {
        let is_concurrent = group.iter().any(|migration| migration.no_tx);
        let lock_timeout = if is_concurrent {
            Duration::ZERO
        } else {
            lock_timeout
        };
        set_lock_timeout(connection, lock_timeout).await?;
        if is_concurrent {
            for migration in group {
                if let Some(index) = concurrent_index(migration.sql.as_str()) {
                    drop_invalid_index(connection, index)
                        .await
                        .map_err(|error| {
                            MigrateError::ExecuteMigration(error, migration.version)
                        })?;
                }
            }
        }
        migrator(group).run(&mut *connection).await?;
    }
    Ok(())
}

/// Migrations in the database that this binary does not have are ignored, so that the previous release
/// still starts after a rollback.
fn migrator(group: &[Migration]) -> Migrator {
    Migrator {
        migrations: group.to_vec().into(),
        ignore_missing: true,
        locking: false,
        ..Migrator::DEFAULT
    }
}

/// Sets the session's `lock_timeout`; zero is no limit.
pub async fn set_lock_timeout(
    connection: &mut PgConnection,
    timeout: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(millis(timeout))
        .execute(connection)
        .await?;
    Ok(())
}

/// Drops an index whose concurrent build was interrupted. `IF NOT EXISTS` would keep it, although no
/// query uses it and every writer updates it.
pub async fn drop_invalid_index(
    connection: &mut PgConnection,
    index: &str,
) -> Result<(), sqlx::Error> {
    let invalid: Option<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname)
         FROM pg_index AS i
         JOIN pg_class AS c ON c.oid = i.indexrelid
         JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE i.indexrelid = to_regclass($1) AND NOT i.indisvalid AND c.relkind = 'i'",
    )
    .bind(index)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(invalid) = invalid {
        tracing::warn!(
            index = invalid,
            "dropping an index whose build was interrupted"
        );
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS {invalid}");
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// The name of the index that a `-- no-transaction` file builds.
fn concurrent_index(sql: &str) -> Option<&str> {
    let (_, rest) = sql.split_once("INDEX CONCURRENTLY IF NOT EXISTS ")?;
    rest.split_whitespace().next()
}

/// Version of the newest migration that is applied.
pub(super) async fn applied_version(conn: impl PgExecutor<'_>) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT max(version) FROM public._sqlx_migrations WHERE success")
        .fetch_one(conn)
        .await
}
