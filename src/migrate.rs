//! Migrations of the schema and the queue, and the privileges of the runtime role.

use clock::{Clock, Rng};
use database::DatabaseConfig;
use database::migrations::{self, PendingState};
use serde_json::json;
use sqlx::PgConnection;

use crate::audit::{self, Event};
use crate::schema::{MIGRATIONS, connection_options};

/// Key of the advisory lock that is held while migrating: any number that nothing else uses.
const MIGRATION_LOCK: i64 = 0x6772_6f75_6e64_0001;

#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error(transparent)]
    Schema(#[from] database::MigrationError),
    #[error("the job queue's schema could not be migrated")]
    Queue(#[from] job_queue::MigrateError),
    #[error("the audit log cannot be written")]
    Audit(#[source] sqlx::Error),
    #[error("a pending migration creates what exists, and that differs")]
    Differs,
    #[error("a pending migration takes away what the release before may use")]
    BreaksRelease,
}

impl MigrationError {
    /// Exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::BreaksRelease => 3,
            _ => 1,
        }
    }
}

/// Runs the migrations and grants the runtime role its privileges. Safe to run from several replicas at once
/// and again after a failure; each migration runs once.
pub async fn migrate(config: &DatabaseConfig) -> Result<(), MigrationError> {
    let options = connection_options(config);
    let migrations = &MIGRATIONS.migrations;
    database::migrate(
        config,
        &options,
        MIGRATION_LOCK,
        migrations,
        async |connection, owner, recorded| {
            job_queue::migrate(owner).await?;
            let role = include_str!("migrate/runtime_role.sql");
            database::set_up_role(connection, &config.url, role).await?;
            database::set_role_defaults(config, &options)
                .await
                .map_err(database::MigrationError::RoleDefaults)?;
            let audited = audit_recorded(connection, &recorded).await;
            audited.map_err(MigrationError::Audit)
        },
    )
    .await
}

/// Audits migrations that were recorded as applied and not run.
async fn audit_recorded(
    connection: &mut PgConnection,
    versions: &[i64],
) -> Result<(), sqlx::Error> {
    let (now, rng) = (Clock::system().now(), Rng::system());
    for version in versions {
        let entry = Event::MigrationRecorded.detail(json!({ "version": version }));
        audit::record_for_process(&mut *connection, entry, now, &rng).await?;
    }
    Ok(())
}

/// Runs the command: migrates, or checks what that would do.
pub async fn run(
    config: &DatabaseConfig,
    is_check: bool,
    print: impl Fn(&str),
) -> Result<(), MigrationError> {
    if is_check {
        check(config, print).await
    } else {
        migrate(config).await
    }
}

/// Prints a line for each migration that is not applied, and changes nothing. Fails if one of them would fail since what it
/// creates exists, or takes away what a release that runs beside it may use.
async fn check(config: &DatabaseConfig, print: impl Fn(&str)) -> Result<(), MigrationError> {
    let options = connection_options(config);
    let migrations = &MIGRATIONS.migrations;
    let pending = migrations::check(config, &options, MIGRATION_LOCK, migrations).await?;
    // Nothing runs on a database that was never migrated.
    let is_first = pending.len() == migrations.len();
    let (mut differs, mut breaks) = (false, false);
    for it in &pending {
        let state = match &it.state {
            PendingState::New => "is pending",
            PendingState::NotCompared => {
                "is pending; not compared with what exists, for which the owner needs the right CREATEDB"
            }
            PendingState::Exists => {
                "exists as the migration creates it, and will be recorded as applied"
            }
            PendingState::Differs(_) => "exists in part or differs, and will fail",
        };
        print(&format!("{} {}: {state}", it.version, it.description));
        if let PendingState::Differs(differences) = &it.state {
            differs = true;
            for line in differences {
                print(&format!("  {line}"));
            }
        }
        if !is_first {
            breaks |= !it.breaks.is_empty();
            for line in &it.breaks {
                print(&format!("  breaks the release before: {line}"));
            }
        }
    }
    if pending.is_empty() {
        print("no migration is pending");
    }
    match (differs, breaks) {
        (true, _) => Err(MigrationError::Differs),
        (false, true) => Err(MigrationError::BreaksRelease),
        (false, false) => Ok(()),
    }
}
