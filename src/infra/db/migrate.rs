//! Brings the schema up to date, from any number of replicas at once.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgExecutor};

use super::inspect::{encoding, tables_elsewhere};
use super::{millis, options};
use crate::config::DatabaseConfig;

/// The migrations of this release, embedded at build time.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// Held while migrating, so that replicas take turns. Any number will do that nobody else uses.
const MIGRATION_LOCK: i64 = 0x6772_6f75_6e64_0001;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// There is no owner to migrate as.
    #[error("DATABASE_MIGRATION_URL is not set: migrations need the owner of the schema")]
    NoOwner,
    /// The database did not answer.
    #[error("the database cannot be reached")]
    Connect(#[source] sqlx::Error),
    /// The database did not let us in within `DB_CONNECT_TIMEOUT`.
    #[error("the database did not answer within the connect timeout")]
    ConnectTimeout,
    /// Another replica kept the lock for `DB_MIGRATION_LOCK_TIMEOUT`.
    #[error("another process has been migrating for longer than DB_MIGRATION_LOCK_TIMEOUT")]
    Locked,
    /// A migration failed; the message names it.
    #[error("a migration failed: {0}")]
    Migration(#[from] MigrateError),
    /// The queue's own migrations failed.
    #[error("the job queue's schema could not be migrated")]
    Queue(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot hold every text.
    #[error(
        "the database's encoding is {0}: it must be UTF8, as CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 makes it"
    )]
    Encoding(String),
    /// An earlier release migrated into another schema.
    #[error(
        "the tables are in the schema {0} and belong into public: move them by ALTER TABLE … SET SCHEMA public, and the functions with them"
    )]
    Elsewhere(String),
    /// The runtime role could not be given its rights.
    #[error("the runtime role could not be given its rights")]
    Rights(#[source] sqlx::Error),
}

/// Brings the schema up to date and gives the runtime role its rights. Safe to run from any number
/// of replicas at once and again after a failure; each migration runs once.
///
/// `sqlx`'s own lock is not used: it waits inside the server, which deadlocks with a concurrent
/// index build of the replica that holds it, and it is not released on an error. Ours is tried for
/// and slept on, on a connection of its own that is closed whatever happens.
pub async fn migrate(config: &DatabaseConfig) -> Result<(), MigrationError> {
    let url = config
        .migration_url
        .as_ref()
        .ok_or(MigrationError::NoOwner)?;
    let owner = options(url, config.echo).map_err(MigrationError::Connect)?;
    let connecting = tokio::time::timeout(config.connect_timeout, owner.connect());
    let mut connection = connecting
        .await
        .map_err(|_| MigrationError::ConnectTimeout)?
        .map_err(MigrationError::Connect)?;
    let result = migrate_on(&mut connection, config, owner).await;
    // Closing frees the lock: it belongs to the session.
    drop(connection.close().await);
    result
}

async fn migrate_on(
    connection: &mut PgConnection,
    config: &DatabaseConfig,
    owner: PgConnectOptions,
) -> Result<(), MigrationError> {
    take_turn(connection, config.migration_lock_timeout).await?;
    prepare_session(connection).await?;
    run_migrations(connection, &MIGRATIONS.migrations, config.lock_timeout).await?;
    migrate_queue(owner).await?;
    index_dead_jobs(connection)
        .await
        .map_err(|error| MigrationError::Queue(Box::new(error)))?;
    let runtime = options(&config.url, false).map_err(MigrationError::Rights)?;
    grant(connection, runtime.get_username(), &config.url)
        .await
        .map_err(MigrationError::Rights)
}

/// Refuses a database that cannot hold our rows, and sees to it that all of them come into `public`:
/// `"$user"` comes first by default, and a schema with the owner's name would take half of them.
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
    sqlx::raw_sql(PUBLIC)
        .execute(connection)
        .await
        .map(drop)
        .map_err(MigrationError::Connect)
}

const PUBLIC: &str = "SET search_path = public";

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
) -> Result<(), MigrationError> {
    for group in migrations.chunk_by(|a, b| a.no_tx == b.no_tx) {
        let concurrent = group.iter().any(|migration| migration.no_tx);
        let lock_timeout = if concurrent {
            Duration::ZERO
        } else {
            lock_timeout
        };
        set_lock_timeout(connection, lock_timeout)
            .await
            .map_err(MigrationError::Connect)?;
        if concurrent {
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

/// Our migrations, run under our own lock. One that is in the database and not in this binary is
/// passed over, so that the release before the newest still starts: a rollback must not loop.
fn migrator(group: &[Migration]) -> Migrator {
    Migrator {
        migrations: group.to_vec().into(),
        ignore_missing: true,
        locking: false,
        ..Migrator::DEFAULT
    }
}

async fn set_lock_timeout(
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
async fn drop_invalid_index(connection: &mut PgConnection, index: &str) -> Result<(), sqlx::Error> {
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

async fn take_turn(
    connection: &mut PgConnection,
    patience: Duration,
) -> Result<(), MigrationError> {
    let started = Instant::now();
    loop {
        let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(MIGRATION_LOCK)
            .fetch_one(&mut *connection)
            .await
            .map_err(MigrationError::Connect)?;
        if ours {
            return Ok(());
        }
        if started.elapsed() >= patience {
            return Err(MigrationError::Locked);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn migrate_queue(owner: PgConnectOptions) -> Result<(), MigrationError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(PUBLIC).execute(connection).await.map(drop) })
        })
        .connect_with(owner)
        .await
        .map_err(MigrationError::Connect)?;
    let queue = graphile_worker::WorkerUtils::new(pool.clone(), QUEUE_SCHEMA);
    let result = queue.migrate().await;
    pool.close().await;
    result.map_err(|error| MigrationError::Queue(Box::new(error)))
}

/// Adds an index on dead jobs to the queue's table, which the library has none for: they are counted
/// every few seconds, and purged. Not a migration of ours, since the library creates the table.
async fn index_dead_jobs(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    set_lock_timeout(connection, Duration::ZERO).await?;
    drop_invalid_index(connection, "graphile_worker.jobs_dead_idx").await?;
    sqlx::raw_sql(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS jobs_dead_idx
         ON graphile_worker._private_jobs (run_at) WHERE attempts >= max_attempts",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The schema of the job queue.
pub const QUEUE_SCHEMA: &str = "graphile_worker";

/// Creates the runtime role if it is missing and gives it rows to read and write, and nothing else.
async fn grant(
    connection: &mut PgConnection,
    role: &str,
    url: &SecretString,
) -> Result<(), sqlx::Error> {
    let password = url::Url::parse(url.expose_secret())
        .ok()
        .and_then(|url| url.password().map(percent_decoded))
        .unwrap_or_default();
    sqlx::query(
        "SELECT set_config('migrate.role', $1, false), set_config('migrate.password', $2, false)",
    )
    .bind(role)
    .bind(password)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(include_str!("runtime_role.sql")))
        .execute(connection)
        .await?;
    Ok(())
}

fn percent_decoded(text: &str) -> String {
    let pair = format!("p={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Whether the database has all migrations of this release.
pub async fn is_current(conn: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    let applied: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM public._sqlx_migrations WHERE success")
            .fetch_one(conn)
            .await?;
    Ok(applied >= newest)
}
