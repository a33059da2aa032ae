//! Migrations whose objects were created by hand: recorded as applied if the objects are those of the migration.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, Row as _};

use super::catalog::Catalog;
use super::compatibility::incompatibilities;
use super::reference::Reference;
use super::statements::statements;
use super::{MigrationError, concurrent_index, drop_invalid_index, run_migrations};
use crate::has_code;

/// SQLSTATE of statements that create what exists: schema, table or index, column, other objects, function.
const EXISTS: [&str; 5] = ["42P06", "42P07", "42701", "42710", "42723"];

/// First words of statements that change rows or may do so, which a comparison of schemas does not show.
const CHANGES_ROWS: [&str; 9] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "COPY", "CALL", "DO", "SELECT",
];

/// Migration that is not applied.
#[derive(Clone, Debug)]
pub struct Pending {
    pub version: i64,
    pub description: String,
    /// Reasons why a release that runs beside it cannot live with it, one sentence each.
    pub breaks: Vec<String>,
    pub state: PendingState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PendingState {
    /// Nothing exists of what it creates.
    New,
    /// All objects that it creates exist with the same definitions: `migrate` records it as applied.
    Exists,
    /// Something of what it creates exists, and it differs in these ways: `migrate` fails.
    Differs(Vec<String>),
    /// The owner may not create the database that is needed for a comparison.
    NotCompared,
}

/// Runs the migrations that are not applied. One that fails because what it creates exists is recorded as applied if all
/// of it is as the migration creates it. Returns the versions of these.
pub(super) async fn run_and_repair(
    connection: &mut PgConnection,
    owner: &PgConnectOptions,
    migrations: &[Migration],
    lock_timeout: Duration,
) -> Result<Vec<i64>, MigrationError> {
    let pending = pending(connection, migrations).await?;
    let applied = without(migrations, &pending);
    // First, since it finds applied migrations that were changed.
    run_migrations(connection, &applied, lock_timeout).await?;
    let mut recorded = Vec::new();
    for at in pending {
        let migration = &migrations[at];
        let is_built = index_exists(connection, migration).await?;
        let cause = if is_built {
            None
        } else {
            let one = std::slice::from_ref(migration);
            match run_migrations(connection, one, lock_timeout).await {
                Ok(()) => continue,
                Err(MigrateError::ExecuteMigration(cause, _)) if creates_what_exists(&cause) => {
                    Some(cause)
                }
                Err(error) => return Err(error.into()),
            }
        };
        match (compare(connection, owner, migrations, at).await, cause) {
            (Ok(differences), _) if differences.is_empty() => {
                record(connection, migration).await?;
                let (version, name) = (migration.version, &*migration.description);
                tracing::warn!(
                    version,
                    name,
                    "recorded a migration as applied: what it creates was created by hand"
                );
                recorded.push(version);
            }
            (Ok(differences), _) => {
                return Err(MigrationError::Differs {
                    version: migration.version,
                    differences,
                });
            }
            (Err(error), Some(cause)) => {
                tracing::warn!(%error, "what exists cannot be compared with what the migration creates");
                return Err(MigrateError::ExecuteMigration(cause, migration.version).into());
            }
            // An interrupted run may have built it: `IF NOT EXISTS` keeps it.
            (Err(error), None) => {
                tracing::warn!(%error, "an index that exists cannot be compared with that of the migration");
                run_migrations(connection, std::slice::from_ref(migration), lock_timeout).await?;
            }
        }
    }
    Ok(recorded)
}

/// Returns the migrations that are not applied, compared with what exists. Creates and drops a database for the
/// comparison, and changes nothing else. Fails if an applied migration was changed.
pub(super) async fn list_pending(
    connection: &mut PgConnection,
    owner: &PgConnectOptions,
    migrations: &[Migration],
) -> Result<Vec<Pending>, MigrationError> {
    let pending = pending(connection, migrations).await?;
    let mut reference = match Reference::create(connection, owner).await {
        Ok(reference) => Some(reference),
        Err(error) => {
            tracing::warn!(%error, "cannot create a database to compare the schema with");
            None
        }
    };
    let states = states(connection, reference.as_mut(), migrations, &pending).await;
    if let Some(reference) = reference {
        let dropped = reference.drop(connection).await;
        dropped.map_err(MigrationError::Comparison)?;
    }
    let states = states?;
    let report = pending.into_iter().zip(states).map(|(at, state)| {
        let it = &migrations[at];
        Pending {
            version: it.version,
            description: it.description.clone().into_owned(),
            breaks: incompatibilities(it.sql.as_str()),
            state,
        }
    });
    Ok(report.collect())
}

async fn states(
    connection: &mut PgConnection,
    reference: Option<&mut Reference>,
    migrations: &[Migration],
    pending: &[usize],
) -> Result<Vec<PendingState>, MigrationError> {
    let Some(reference) = reference else {
        return Ok(vec![PendingState::NotCompared; pending.len()]);
    };
    let actual = read(connection).await?;
    let mut steps = Vec::new();
    for &at in pending {
        let before = reference.advance(migrations, at).await?;
        steps.push((at, before, reference.advance(migrations, at + 1).await?));
    }
    let last = reference.advance(migrations, migrations.len()).await?;
    let states = steps.iter().map(|(at, before, after)| {
        if !actual.has_created(before, after) {
            return PendingState::New;
        }
        let mut differences = actual.differences(before, after, &last);
        differences.extend(row_changes(&migrations[*at]));
        if differences.is_empty() {
            PendingState::Exists
        } else {
            PendingState::Differs(differences)
        }
    });
    Ok(states.collect())
}

/// Returns how what exists differs from what the migration at `at` makes.
async fn compare(
    connection: &mut PgConnection,
    owner: &PgConnectOptions,
    migrations: &[Migration],
    at: usize,
) -> Result<Vec<String>, MigrationError> {
    let mut reference = Reference::create(connection, owner).await?;
    let states = states(connection, Some(&mut reference), migrations, &[at]).await;
    let dropped = reference.drop(connection).await;
    dropped.map_err(MigrationError::Comparison)?;
    Ok(match states?.pop() {
        Some(PendingState::Differs(differences)) => differences,
        _ => Vec::new(),
    })
}

async fn read(connection: &mut PgConnection) -> Result<Catalog, MigrationError> {
    let read = Catalog::read(connection).await;
    read.map_err(MigrationError::Comparison)
}

fn row_changes(migration: &Migration) -> Vec<String> {
    let statements = statements(migration.sql.as_str());
    let changing = statements
        .iter()
        .filter(|it| CHANGES_ROWS.iter().any(|word| it.begins(word)));
    changing
        .map(|it| {
            let (line, begins) = (it.line(), it.beginning(3));
            format!("line {line} may change rows, which is not compared: {begins} …")
        })
        .collect()
}

fn creates_what_exists(error: &sqlx::Error) -> bool {
    EXISTS.iter().any(|code| has_code(error, code))
}

/// Returns whether a valid index exists that the migration builds with `IF NOT EXISTS`, which would keep any of this name.
async fn index_exists(
    connection: &mut PgConnection,
    migration: &Migration,
) -> Result<bool, MigrationError> {
    let index = concurrent_index(migration.sql.as_str()).filter(|_| migration.no_tx);
    let Some(index) = index else {
        return Ok(false);
    };
    let exists = async {
        drop_invalid_index(connection, index).await?;
        sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(index)
            .fetch_one(connection)
            .await
    };
    exists
        .await
        .map_err(|error| MigrateError::Execute(error).into())
}

/// Positions of the migrations that are not recorded as applied.
async fn pending(
    connection: &mut PgConnection,
    migrations: &[Migration],
) -> Result<Vec<usize>, MigrationError> {
    let recorded = async {
        let exists: bool =
            sqlx::query_scalar("SELECT to_regclass('public._sqlx_migrations') IS NOT NULL")
                .fetch_one(&mut *connection)
                .await?;
        if !exists {
            return Ok(Vec::new());
        }
        sqlx::query("SELECT version, checksum, success FROM public._sqlx_migrations")
            .fetch_all(connection)
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect::<Result<Vec<(i64, Vec<u8>, bool)>, sqlx::Error>>()
    };
    let recorded = recorded.await.map_err(MigrateError::Execute)?;
    let mut pending = Vec::new();
    for (at, migration) in migrations.iter().enumerate() {
        let version = migration.version;
        match recorded.iter().find(|it| it.0 == version) {
            None => pending.push(at),
            Some((_, _, false)) => return Err(MigrateError::Dirty(version).into()),
            Some((_, checksum, _)) if checksum[..] != migration.checksum[..] => {
                return Err(MigrateError::VersionMismatch(version).into());
            }
            Some(_) => {}
        }
    }
    Ok(pending)
}

fn without(migrations: &[Migration], pending: &[usize]) -> Vec<Migration> {
    let all = migrations.iter().enumerate();
    let applied = all.filter(|(at, _)| !pending.contains(at));
    applied.map(|(_, migration)| migration.clone()).collect()
}

async fn record(
    connection: &mut PgConnection,
    migration: &Migration,
) -> Result<(), MigrationError> {
    let recorded = sqlx::query(
        "INSERT INTO public._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ($1, $2, true, $3, 0)",
    )
    .bind(migration.version)
    .bind(&*migration.description)
    .bind(&*migration.checksum)
    .execute(connection)
    .await;
    recorded
        .map(drop)
        .map_err(|error| MigrateError::Execute(error).into())
}
