//! Migration runner.
//!
//! `sqlx`'s own lock is not used: it waits inside the server, which deadlocks with a concurrent index
//! build of the replica that holds it, and it is not released on an error. [`try_lock`] polls instead.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgExecutor};
use tokio::time::{sleep, timeout};

use super::inspect::{encoding, tables_elsewhere};
use super::pooling::Pooling;
use super::{DatabaseConfig, Options, StatementLog, connect_options, millis};

mod catalog;
mod compatibility;
mod partitioned_indexes;
mod reference;
mod repair;
pub mod statements;

pub use compatibility::incompatibilities;
pub use partitioned_indexes::complete_partitioned_indexes;
pub use repair::{Pending, PendingState};

const LOCK_POLLED_EVERY: Duration = Duration::from_millis(100);

/// The schema could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("DATABASE_MIGRATION_URL is not set: migrations need the owner of the schema")]
    NoOwner,
    #[error("the database cannot be reached")]
    Connect(#[source] sqlx::Error),
    #[error("the database did not respond within the connect timeout")]
    ConnectTimeout,
    #[error(
        "DATABASE_MIGRATION_URL leads to a pooler that shares sessions, such as PgBouncer with pool_mode = transaction: name the database itself"
    )]
    Pooler,
    #[error("another process has been migrating for longer than DB_MIGRATION_LOCK_TIMEOUT")]
    Locked,
    #[error("a migration failed: {0}")]
    Migration(#[from] MigrateError),
    #[error(
        "migration {version} creates what exists, and that differs: {}. Remove what was created by hand, or make it equal, and migrate again",
        differences.join("; ")
    )]
    Differs {
        version: i64,
        differences: Vec<String>,
    },
    #[error("the schema cannot be compared with that of an empty database: {0}")]
    Comparison(#[source] sqlx::Error),
    #[error(
        "the database's encoding is {0}: it must be UTF8, as CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 makes it"
    )]
    Encoding(String),
    #[error(
        "the tables are in the schema {0} and belong into public: move them by ALTER TABLE … SET SCHEMA public, and the functions with them"
    )]
    Elsewhere(String),
    #[error("an index of a partition could not be built: {0}")]
    Index(#[source] sqlx::Error),
    #[error("the runtime role could not be granted its privileges")]
    Privileges(#[source] sqlx::Error),
    #[error("the runtime role could not set its defaults by DATABASE_DIRECT_URL")]
    RoleDefaults(#[source] sqlx::Error),
}

/// Runs the migrations as the owner of the schema, and then `finish`, under the advisory lock `key`. Safe to run
/// from several replicas at once and again after a failure; each migration runs once. `finish` gets the versions of
/// migrations that were not run but recorded as applied, since what they create was created by hand.
pub async fn migrate<E: From<MigrationError>>(
    config: &DatabaseConfig,
    options: &Options,
    key: i64,
    migrations: &[Migration],
    finish: impl AsyncFnOnce(&mut PgConnection, PgConnectOptions, Vec<i64>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut connection, owner) = connect(config, options).await?;
    let result = async {
        let recorded = lock_and_run(&mut connection, &owner, config, key, migrations).await?;
        finish(&mut connection, owner, recorded).await
    };
    let result = result.await;
    // Releases the advisory lock, which belongs to the session.
    drop(connection.close().await);
    result
}

/// Returns the migrations that are not applied, each compared with what exists in the database. Changes nothing: a database
/// that is created beside it for the comparison is dropped.
pub async fn check(
    config: &DatabaseConfig,
    options: &Options,
    key: i64,
    migrations: &[Migration],
) -> Result<Vec<Pending>, MigrationError> {
    let (mut connection, owner) = connect(config, options).await?;
    let result = async {
        lock(&mut connection, config, key).await?;
        repair::list_pending(&mut connection, &owner, migrations).await
    };
    let result = result.await;
    drop(connection.close().await);
    result
}

async fn connect(
    config: &DatabaseConfig,
    options: &Options,
) -> Result<(PgConnection, PgConnectOptions), MigrationError> {
    let url = config.migration_url.as_ref();
    let url = url.ok_or(MigrationError::NoOwner)?;
    let owner = connect_options(url, options.application_name, options.statement_log)
        .map_err(MigrationError::Connect)?;
    let connection = timeout(config.connect_timeout, owner.connect())
        .await
        .map_err(|_| MigrationError::ConnectTimeout)?
        .map_err(MigrationError::Connect)?;
    // The lock belongs to a session. A pooler of sessions may have none left for the probe.
    match Pooling::detect(&owner).await {
        Ok(Pooling::Session) | Err(_) => Ok((connection, owner)),
        Ok(_) => Err(MigrationError::Pooler),
    }
}

async fn lock(
    connection: &mut PgConnection,
    config: &DatabaseConfig,
    key: i64,
) -> Result<(), MigrationError> {
    let locked = try_lock(connection, key, config.migration_lock_timeout).await;
    if !locked.map_err(MigrationError::Connect)? {
        return Err(MigrationError::Locked);
    }
    prepare_session(connection).await
}

async fn lock_and_run(
    connection: &mut PgConnection,
    owner: &PgConnectOptions,
    config: &DatabaseConfig,
    key: i64,
    migrations: &[Migration],
) -> Result<Vec<i64>, MigrationError> {
    lock(connection, config, key).await?;
    let timeout = config.lock_timeout;
    let recorded = repair::run_and_repair(connection, owner, migrations, timeout).await?;
    let completed = complete_partitioned_indexes(connection, timeout).await;
    completed.map_err(MigrationError::Index)?;
    Ok(recorded)
}

/// Checks the encoding, and that all tables are created in `public`: by default a schema with the owner's
/// name (`"$user"`) comes first.
async fn prepare_session(connection: &mut PgConnection) -> Result<(), MigrationError> {
    let encoding = encoding(&mut *connection)
        .await
        .map_err(MigrationError::Connect)?;
    if encoding != "UTF8" {
        return Err(MigrationError::Encoding(encoding));
    }
    let elsewhere = tables_elsewhere(&mut *connection)
        .await
        .map_err(MigrationError::Connect)?;
    if let Some(schema) = elsewhere {
        return Err(MigrationError::Elsewhere(schema));
    }
    sqlx::raw_sql("SET search_path = public")
        .execute(connection)
        .await
        .map(drop)
        .map_err(MigrationError::Connect)
}

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

/// Executes `sql`, which creates the role of `url` and grants its privileges. It finds name and password in the
/// settings `migrate.role` and `migrate.password`.
pub async fn set_up_role(
    connection: &mut PgConnection,
    url: &SecretString,
    sql: &'static str,
) -> Result<(), MigrationError> {
    let set_up = set_up(connection, url, sql);
    set_up.await.map_err(MigrationError::Privileges)
}

async fn set_up(
    connection: &mut PgConnection,
    url: &SecretString,
    sql: &'static str,
) -> Result<(), sqlx::Error> {
    let role = connect_options(url, "", StatementLog::Off)?;
    let password = url::Url::parse(url.expose_secret())
        .ok()
        .and_then(|url| url.password().map(percent_decoded))
        .unwrap_or_default();
    sqlx::query(
        "SELECT set_config('migrate.role', $1, false), set_config('migrate.password', $2, false)",
    )
    .bind(role.get_username())
    .bind(password)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("p={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
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

/// Version of the newest migration that is applied, and whether the server is a standby.
pub(super) async fn applied_version(
    conn: impl PgExecutor<'_>,
) -> Result<(Option<i64>, bool), sqlx::Error> {
    sqlx::query_as(
        "SELECT max(version), pg_is_in_recovery() FROM public._sqlx_migrations WHERE success",
    )
    .fetch_one(conn)
    .await
}
