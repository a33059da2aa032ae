//! Poolers between the service and `PostgreSQL`: which sessions they share, and what the other URLs must lead to.

use std::pin::pin;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgExecutor, Row as _,
};
use tokio::time::timeout;

use super::{DatabaseConfig, Db, Options, Replica, connect_options, has_code, is_outage};

/// Time limit of a statement of the probe that may wait for a session which the probe itself holds.
const WAIT_FOR_SESSION: Duration = Duration::from_secs(2);

/// Time limit of a probe. A pooler of sessions may have none left for it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit of the check when a process starts.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// Rounds of a probe. Clients in between may take the session that one round looks for.
const ROUNDS: usize = 3;

const BY_TRANSACTION: &str = "a pooler hands out sessions by the transaction, such as PgBouncer with pool_mode = transaction: \
     set DATABASE_DIRECT_URL to the database itself, or use pool_mode = session";

const BY_STATEMENT: &str = "a pooler hands out sessions by the statement, such as PgBouncer with pool_mode = statement: \
     use pool_mode = transaction with DATABASE_DIRECT_URL, or pool_mode = session";

const STATEMENTS_NOT_FOLLOWED: &str = "the pooler does not follow prepared statements: PgBouncer does from version 1.21, with \
     max_prepared_statements = 200; or use pool_mode = session";

const READ_URL: &str = "DATABASE_READ_URL";

/// Warning about a read URL that takes no load off the primary.
pub const READ_URL_OF_PRIMARY: &str =
    "DATABASE_READ_URL leads to the primary, which replies to these reads anyway: name a standby";

/// How long a client of the pooler keeps a session of the server. A server without a pooler is like one of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooling {
    Session,
    Transaction {
        /// True if a statement that a client has prepared is prepared in each session that the client gets.
        follows_statements: bool,
    },
    Statement,
}

impl Pooling {
    /// Detects it by two connections. Fails with [`sqlx::Error::PoolTimedOut`] if no sessions were left for them.
    pub(crate) async fn detect(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let probed = timeout(PROBE_TIMEOUT, Self::probe(options)).await;
        probed.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn probe(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let (mut one, mut other) = (options.connect().await?, options.connect().await?);
        let mut pooling = Self::Session;
        for _ in 0..ROUNDS {
            match is_shared(&mut one, &mut other).await {
                Ok(false) => {}
                Ok(true) => {
                    let follows_statements = follows_statements(&mut one).await?;
                    pooling = Self::Transaction { follows_statements };
                    break;
                }
                Err(error) if refuses_transactions(&error) => return Ok(Self::Statement),
                Err(error) => return Err(error),
            }
        }
        drop((one.close().await, other.close().await));
        Ok(pooling)
    }

    /// Faults of `DATABASE_URL`.
    fn faults(self, has_direct: bool) -> Vec<String> {
        let faults = match self {
            Self::Session => vec![],
            Self::Transaction { follows_statements } => {
                let faults = [
                    (!has_direct).then_some(BY_TRANSACTION),
                    (!follows_statements).then_some(STATEMENTS_NOT_FOLLOWED),
                ];
                faults.into_iter().flatten().collect()
            }
            Self::Statement => vec![BY_STATEMENT],
        };
        faults.into_iter().map(str::to_owned).collect()
    }
}

/// Returns whether two connections get the same session, or one of them two: then a pooler shares them.
async fn is_shared(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // A proxy may lead to several standbys, whose processes can have the same number.
    const SESSION: &str = "SELECT pg_backend_pid() || ' of ' || pg_postmaster_start_time()";
    const SESSION_IN_TRANSACTION: &str =
        "BEGIN; SELECT pg_backend_pid() || ' of ' || pg_postmaster_start_time()";
    let before = session_of(one, SESSION).await?;
    // The session that `one` has returned is the next that most poolers hand out.
    let theirs = session_of(other, SESSION_IN_TRANSACTION).await?;
    let mut after = pin!(session_of(one, SESSION));
    let returned = timeout(WAIT_FOR_SESSION, after.as_mut()).await;
    other.execute(sqlx::raw_sql("ROLLBACK")).await?;
    let after = match returned {
        Ok(session) => session?,
        Err(_) => after.await?,
    };
    Ok(theirs == before || after != before)
}

async fn session_of(
    connection: &mut PgConnection,
    sql: &'static str,
) -> Result<String, sqlx::Error> {
    let row: PgRow = connection.fetch_one(sqlx::raw_sql(sql)).await?;
    row.try_get(0)
}

/// `PgBouncer` has no code of its own for it.
fn refuses_transactions(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(|error| error.message().contains("statement pooling mode"))
}

/// Returns whether the pooler has replaced the name that sqlx gave to a statement: a pooler that follows statements gives them
/// names of its own, since those of its clients collide.
async fn follows_statements(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    const NAME_OF_THIS: &str = "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%probe of poolers%' \
         ORDER BY prepare_time DESC LIMIT 1";
    // In one transaction, and so in one session.
    connection.execute(sqlx::raw_sql("BEGIN")).await?;
    let name: Result<Option<String>, _> = sqlx::query_scalar(NAME_OF_THIS)
        .fetch_optional(&mut *connection)
        .await;
    connection.execute(sqlx::raw_sql("ROLLBACK")).await?;
    match name {
        Ok(name) => Ok(name.is_none_or(|name| !name.starts_with("sqlx_s_"))),
        Err(error) if is_lost_statement(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether a prepared statement was missing or duplicate: sqlx numbers the statements of each
/// connection, so that either means a shared session.
pub(crate) fn is_lost_statement(error: &sqlx::Error) -> bool {
    const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    const INVALID_STATEMENT_NAME: &str = "26000";
    [DUPLICATE_PREPARED_STATEMENT, INVALID_STATEMENT_NAME]
        .iter()
        .any(|code| has_code(error, code))
}

/// Returns what is wrong with the pooler of `DATABASE_URL`, if there is one.
pub(crate) async fn pooler_faults(db: &Db) -> Result<Vec<String>, sqlx::Error> {
    let pooling = Pooling::detect(&db.pool().connect_options()).await?;
    Ok(pooling.faults(db.direct().is_some()))
}

/// Cluster, database and role of a connection.
pub(crate) struct Place {
    cluster: String,
    database: String,
    role: String,
    is_standby: bool,
}

impl Place {
    pub(crate) async fn of(conn: impl PgExecutor<'_>) -> Result<Self, sqlx::Error> {
        // Unprepared, for poolers that do not follow prepared statements.
        let row = sqlx::raw_sql(
            "SELECT system_identifier::text, current_database()::text, current_user::text, pg_is_in_recovery()
             FROM pg_control_system()",
        )
        .fetch_one(conn)
        .await?;
        Ok(Self {
            cluster: row.try_get(0)?,
            database: row.try_get(1)?,
            role: row.try_get(2)?,
            is_standby: row.try_get(3)?,
        })
    }

    /// Faults of the URL of this name, compared with `DATABASE_URL`.
    fn faults(&self, name: &str, main: &Self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.is_standby {
            faults.push(format!(
                "{name} leads to a standby, which is read-only: name the primary"
            ));
        }
        faults.extend(self.data_faults(name, main, "the server behind the pooler"));
        faults
    }

    /// Faults of `DATABASE_READ_URL`, compared with `DATABASE_URL`.
    pub(crate) fn replica_faults(&self, main: &Self) -> Vec<String> {
        let mut faults = self.data_faults(READ_URL, main, "a standby of that server");
        faults.extend(self.role_fault(READ_URL, main));
        faults
    }

    fn role_fault(&self, name: &str, main: &Self) -> Option<String> {
        (self.role != main.role).then(|| {
            format!(
                "{name} connects as {}, DATABASE_URL as {}: use the same role",
                self.role, main.role
            )
        })
    }

    /// Faults of a URL that leads to other data than `DATABASE_URL`.
    fn data_faults(&self, name: &str, main: &Self, expected: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if self.cluster != main.cluster {
            faults.push(format!(
                "{name} leads to another server than DATABASE_URL, with data of its own: name {expected}"
            ));
        } else if self.database != main.database {
            faults.push(format!(
                "{name} leads to the database {}, DATABASE_URL to {}: name the same one",
                self.database, main.database
            ));
        }
        faults
    }
}

/// Returns what is wrong with `DATABASE_DIRECT_URL`, if it is set.
pub async fn direct_faults(db: &Db) -> Result<Vec<String>, sqlx::Error> {
    const NAME: &str = "DATABASE_DIRECT_URL";
    let Some(direct) = db.direct() else {
        return Ok(vec![]);
    };
    let (mut faults, place) = faults_of(NAME, &direct.connect_options(), db).await?;
    if let Some((place, main)) = place {
        faults.extend(place.role_fault(NAME, &main));
    }
    Ok(faults)
}

/// Returns what is wrong with `DATABASE_MIGRATION_URL`, if it is set.
pub async fn migration_faults(
    db: &Db,
    config: &DatabaseConfig,
    options: &Options,
) -> Result<Vec<String>, sqlx::Error> {
    let Some(url) = &config.migration_url else {
        return Ok(vec![]);
    };
    let options = connect_options(url, options.application_name, options.statement_log)?;
    let (faults, _) = faults_of("DATABASE_MIGRATION_URL", &options, db).await?;
    Ok(faults)
}

async fn faults_of(
    name: &str,
    options: &PgConnectOptions,
    db: &Db,
) -> Result<(Vec<String>, Option<(Place, Place)>), sqlx::Error> {
    if Pooling::detect(options).await? != Pooling::Session {
        let fault = format!(
            "{name} leads to a pooler that shares sessions, such as PgBouncer with pool_mode = transaction: name the database itself"
        );
        return Ok((vec![fault], None));
    }
    let mut connection = options.connect().await?;
    let place = Place::of(&mut connection).await;
    drop(connection.close().await);
    let (place, main) = (place?, Place::of(db).await?);
    Ok((place.faults(name, &main), Some((place, main))))
}

/// The database cannot be used through this pooler.
#[derive(Debug, thiserror::Error)]
#[error("DATABASE_URL and DATABASE_DIRECT_URL cannot be used: {}", .0.join("; "))]
pub struct UnfitPooler(Vec<String>);

/// A URL of the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnfitServer {
    #[error(transparent)]
    Pooler(#[from] UnfitPooler),
    #[error(transparent)]
    Replica(#[from] UnfitReplica),
}

/// Rejects URLs by which writes would be lost, or the data of another database returned. Nothing is rejected while a server
/// does not respond.
pub async fn reject_unfit_servers(db: &Db, replica: Option<&Replica>) -> Result<(), UnfitServer> {
    reject_unfit_pooler(db).await?;
    if let Some(replica) = replica {
        reject_unfit_replica(db, replica).await?;
    }
    Ok(())
}

/// Rejects a pooler that would lose settings, locks and statements of sessions, and a direct URL that leads elsewhere. Nothing
/// is rejected while the database does not respond: [`crate::log_faults`] logs it later.
async fn reject_unfit_pooler(db: &Db) -> Result<(), UnfitPooler> {
    let faults = async {
        let mut faults = pooler_faults(db).await?;
        if faults.is_empty() {
            faults = direct_faults(db).await?;
        }
        Ok::<_, sqlx::Error>(faults)
    };
    match timeout(START_TIMEOUT, faults).await {
        Ok(Ok(faults)) if !faults.is_empty() => Err(UnfitPooler(faults)),
        Ok(Err(error)) if !is_outage(&error) => {
            tracing::warn!(%error, "the pooler cannot be checked");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Faults of `DATABASE_READ_URL`.
#[derive(Debug)]
pub struct ReplicaFindings {
    /// It must not be read.
    pub faults: Vec<String>,
    /// It leads to the primary.
    pub is_primary: bool,
}

/// Compares the server of `DATABASE_READ_URL` with that of `DATABASE_URL`.
pub async fn replica_findings(db: &Db, replica: &Replica) -> Result<ReplicaFindings, sqlx::Error> {
    let options = replica.options();
    let pooling = Pooling::detect(options).await?;
    let faults = pooling.faults(db.direct().is_some());
    if !faults.is_empty() {
        let faults = faults.iter().map(|fault| format!("{READ_URL}: {fault}"));
        return Ok(ReplicaFindings {
            faults: faults.collect(),
            is_primary: false,
        });
    }
    let mut connection = options.connect().await?;
    let place = Place::of(&mut connection).await;
    drop(connection.close().await);
    let (place, main) = (place?, Place::of(db).await?);
    Ok(ReplicaFindings {
        faults: place.replica_faults(&main),
        is_primary: !place.is_standby,
    })
}

/// The read replica cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} (without DATABASE_READ_URL the primary replies to all reads)", .0.join("; "))]
pub struct UnfitReplica(Vec<String>);

/// Rejects a read URL that leads to other data or has another role. The watch of the replica compares them later if a server
/// does not respond.
async fn reject_unfit_replica(db: &Db, replica: &Replica) -> Result<(), UnfitReplica> {
    match timeout(START_TIMEOUT, replica_findings(db, replica)).await {
        Ok(Ok(found)) if !found.faults.is_empty() => Err(UnfitReplica(found.faults)),
        Ok(Err(error)) if !is_outage(&error) => {
            tracing::warn!(%error, "the read replica cannot be checked");
            Ok(())
        }
        _ => Ok(()),
    }
}
