//! Migrations of the schema and the queue, and the privileges of the runtime role.

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, FromRow, PgConnection};

use crate::config::DatabaseConfig;
use crate::infra::Db;
use crate::infra::db::inspect::{encoding, tables_elsewhere};
use crate::infra::db::migrations::try_lock;
use crate::infra::db::{Options, StatementLog, connect_options, run_migrations};

/// `application_name` of the service's sessions.
pub const APPLICATION_NAME: &str = env!("CARGO_PKG_NAME");

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Key of the advisory lock that is held while migrating: any number that nothing else uses.
const MIGRATION_LOCK: i64 = 0x6772_6f75_6e64_0001;

#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error("DATABASE_MIGRATION_URL is not set: migrations need the owner of the schema")]
    NoOwner,
    #[error("the database cannot be reached")]
    Connect(#[source] sqlx::Error),
    #[error("the database did not respond within the connect timeout")]
    ConnectTimeout,
    #[error("another process has been migrating for longer than DB_MIGRATION_LOCK_TIMEOUT")]
    Locked,
    #[error("a migration failed: {0}")]
    Migration(#[from] MigrateError),
    #[error("the job queue's schema could not be migrated")]
    Queue(#[from] job_queue::MigrateError),
    #[error(
        "the database's encoding is {0}: it must be UTF8, as CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 makes it"
    )]
    Encoding(String),
    #[error(
        "the tables are in the schema {0} and belong into public: move them by ALTER TABLE … SET SCHEMA public, and the functions with them"
    )]
    Elsewhere(String),
    #[error("the runtime role could not be granted its privileges")]
    Privileges(#[source] sqlx::Error),
}

/// Options of the service's connections. Statements are logged with `DB_ECHO`, and otherwise are spans if those
/// are exported.
#[must_use]
pub fn connection(config: &DatabaseConfig) -> Options {
    let statement_log = if config.echo {
        StatementLog::Debug
    } else if ::telemetry::exports_spans() {
        StatementLog::Trace
    } else {
        StatementLog::Off
    };
    Options {
        application_name: APPLICATION_NAME,
        statement_log,
        schema_version: MIGRATIONS.iter().map(|one| one.version).max(),
    }
}

/// Runs the migrations and grants the runtime role its privileges. Safe to run from several replicas at once
/// and again after a failure; each migration runs once.
pub async fn migrate(config: &DatabaseConfig) -> Result<(), MigrationError> {
    let url = config
        .migration_url
        .as_ref()
        .ok_or(MigrationError::NoOwner)?;
    let owner = connect_options(url, APPLICATION_NAME, connection(config).statement_log)
        .map_err(MigrationError::Connect)?;
    let connecting = tokio::time::timeout(config.connect_timeout, owner.connect());
    let mut connection = connecting
        .await
        .map_err(|_| MigrationError::ConnectTimeout)?
        .map_err(MigrationError::Connect)?;
    let result = migrate_on(&mut connection, config, owner).await;
    // Releases the advisory lock, which belongs to the session.
    drop(connection.close().await);
    result
}

async fn migrate_on(
    connection: &mut PgConnection,
    config: &DatabaseConfig,
    owner: PgConnectOptions,
) -> Result<(), MigrationError> {
    let locked = try_lock(connection, MIGRATION_LOCK, config.migration_lock_timeout).await;
    if !locked.map_err(MigrationError::Connect)? {
        return Err(MigrationError::Locked);
    }
    prepare_session(connection).await?;
    run_migrations(connection, &MIGRATIONS.migrations, config.lock_timeout).await?;
    job_queue::migrate(owner).await?;
    let runtime = connect_options(&config.url, APPLICATION_NAME, StatementLog::Off)
        .map_err(MigrationError::Privileges)?;
    grant(connection, runtime.get_username(), &config.url)
        .await
        .map_err(MigrationError::Privileges)
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

/// Creates the runtime role if it is missing and grants it rows to read and write, and nothing else.
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
    sqlx::raw_sql(AssertSqlSafe(include_str!("migrate/runtime_role.sql")))
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

#[derive(FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "a row of the result")]
struct Privileges {
    superuser: bool,
    creates_roles: bool,
    creates_tables: bool,
    rewrites_audit_log: bool,
    reads_users: bool,
    works_queue: bool,
}

/// Returns what is wrong with the privileges of the current role.
pub async fn role_faults(db: &Db) -> Result<Vec<&'static str>, sqlx::Error> {
    let privileges: Privileges = sqlx::query_as(
        "SELECT rolsuper AS superuser, rolcreaterole AS creates_roles,
                has_schema_privilege('public', 'CREATE') AS creates_tables,
                has_table_privilege('audit_log', 'UPDATE') OR has_table_privilege('audit_log', 'DELETE') AS rewrites_audit_log,
                has_table_privilege('users', 'SELECT') AS reads_users,
                has_schema_privilege('graphile_worker', 'USAGE') AS works_queue
         FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(db)
    .await?;
    let faults = [
        (privileges.superuser, "the runtime role is a superuser"),
        (
            privileges.creates_roles,
            "the runtime role may create roles",
        ),
        (
            privileges.creates_tables,
            "the runtime role may create tables",
        ),
        (
            privileges.rewrites_audit_log,
            "the runtime role may rewrite the audit log",
        ),
        (
            !privileges.reads_users,
            "the runtime role may not read the tables: run `migrate`",
        ),
        (
            !privileges.works_queue,
            "the runtime role may not use the queue: run `migrate`",
        ),
    ];
    Ok(faults
        .into_iter()
        .filter_map(|(wrong, fault)| wrong.then_some(fault))
        .collect())
}
