//! Checks of a database as it is: its encoding, its schemas, what stands between it and us, the rights
//! of the runtime role, and its clock. For `doctor`, the heartbeat, and the log at the start.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, FromRow, PgConnection, PgExecutor, Row as _};
use tokio::time::{sleep, timeout};

use super::{Db, Pulse};
use crate::infra::ClockSample;

/// Time limit for a pooler to hand a statement to a free session.
const SESSION_PROBE: Duration = Duration::from_secs(2);

/// How often the start tries to check a database that does not respond yet.
const CHECK_AGAIN: Duration = Duration::from_secs(5);

/// Returns whether the database answers. Not by a prepared statement, which some poolers do not keep.
pub async fn ping(db: &Db) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SELECT 1").execute(db).await.map(drop)
}

/// Reads the database's clock. A statement without parameters, in one round trip and never prepared.
pub(super) async fn read_clock(connection: &mut PgConnection) -> Result<ClockSample, sqlx::Error> {
    let asked = Instant::now();
    let row = sqlx::raw_sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        .fetch_one(connection)
        .await?;
    let replied = Instant::now();
    Ok(ClockSample {
        asked,
        replied,
        micros: row.try_get(0)?,
    })
}

/// How far the database's clock is ahead of `now`, which was read just before.
pub async fn clock_skew(db: &Db, now: DateTime<Utc>) -> Result<TimeDelta, sqlx::Error> {
    let theirs: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(db)
        .await?;
    Ok(theirs - now)
}

#[derive(FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "a row of answers")]
struct Rights {
    superuser: bool,
    creates_roles: bool,
    creates_tables: bool,
    rewrites_audit_log: bool,
    reads_users: bool,
    works_queue: bool,
}

/// What is wrong with the rights of the role that we are connected as.
pub async fn role_faults(db: &Db) -> Result<Vec<&'static str>, sqlx::Error> {
    let rights: Rights = sqlx::query_as(
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
        (rights.superuser, "the runtime role is a superuser"),
        (rights.creates_roles, "the runtime role may create roles"),
        (rights.creates_tables, "the runtime role may create tables"),
        (
            rights.rewrites_audit_log,
            "the runtime role may rewrite the audit log",
        ),
        (
            !rights.reads_users,
            "the runtime role may not read the tables: run `migrate`",
        ),
        (
            !rights.works_queue,
            "the runtime role may not use the queue: run `migrate`",
        ),
    ];
    Ok(faults
        .into_iter()
        .filter_map(|(wrong, fault)| wrong.then_some(fault))
        .collect())
}

/// The encoding that the database stores text in.
pub(super) async fn encoding(conn: impl PgExecutor<'_>) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()")
        .fetch_one(conn)
        .await
}

/// The schema that our tables are in, where that is not `public`.
pub(super) async fn tables_elsewhere(
    conn: impl PgExecutor<'_>,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE relname = '_sqlx_migrations' AND relkind = 'r'
             AND nspname IN (current_user, current_schema())
             AND to_regclass('public._sqlx_migrations') IS NULL",
    )
    .fetch_optional(conn)
    .await
}

/// Faults of the database itself, and of a pooler in front of it.
pub async fn database_faults(db: &Db, pulse: &Pulse) -> Result<Vec<String>, sqlx::Error> {
    let shared = || {
        vec![
            "a pooler hands out sessions by the transaction, such as PgBouncer with pool_mode = transaction: \
             prepared statements and timeouts need pool_mode = session"
                .to_owned(),
        ]
    };
    // First, since the statements below would fail by it, and not say so.
    if shares_sessions(pulse).await? {
        return Ok(shared());
    }
    match session_faults(db).await {
        // The probe can miss such a pooler while other clients take its sessions.
        Err(error) if is_lost_statement(&error) => Ok(shared()),
        result => result,
    }
}

async fn session_faults(db: &Db) -> Result<Vec<String>, sqlx::Error> {
    let mut faults = Vec::new();
    let encoding = encoding(db).await?;
    if encoding != "UTF8" {
        faults.push(format!("its encoding is {encoding}: it must be UTF8"));
    }
    if let Some(schema) = tables_elsewhere(db).await? {
        faults.push(format!(
            "the tables are in the schema {schema}, not in public"
        ));
    }
    let (timeout, path): (String, String) = sqlx::query_as(
        "SELECT current_setting('statement_timeout'), current_setting('search_path')",
    )
    .fetch_one(db)
    .await?;
    if timeout == "0" || path != "public" {
        faults.push("what a session is set to is lost between statements".to_owned());
    }
    Ok(faults)
}

/// Returns whether a prepared statement was missing or already there. sqlx numbers the statements of each
/// connection, so that either means that connections share a session.
fn is_lost_statement(error: &sqlx::Error) -> bool {
    const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    const INVALID_STATEMENT_NAME: &str = "26000";
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == DUPLICATE_PREPARED_STATEMENT || code == INVALID_STATEMENT_NAME)
}

/// Returns whether a pooler in between gives statements of one connection to different sessions: what one
/// connection has set, it does not find once another one is in a transaction.
async fn shares_sessions(pulse: &Pulse) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (pulse.connect().await?, pulse.connect().await?);
    let probing = async {
        one.execute(sqlx::raw_sql("SET groundwork.session = 'one'"))
            .await?;
        other.execute(sqlx::raw_sql("BEGIN")).await?;
        let (ours, theirs) = (
            session_mark(&mut one).await?,
            session_mark(&mut other).await?,
        );
        Ok(ours.as_deref() != Some("one") || theirs.as_deref() == Some("one"))
    };
    // A pooler that has one session left waits for the transaction to end.
    timeout(SESSION_PROBE, probing).await.unwrap_or(Ok(true))
}

async fn session_mark(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    // Not prepared, which a pooler would trip over.
    let sql = sqlx::raw_sql("SELECT current_setting('groundwork.session', true)");
    let row: PgRow = connection.fetch_one(sql).await?;
    row.try_get(0)
}

/// Logs what is wrong with the database, once it responds.
pub async fn log_faults(db: Db, pulse: Pulse) {
    let faults = loop {
        match database_faults(&db, &pulse).await {
            Ok(faults) => break faults,
            Err(error) if super::is_outage(&error) => sleep(CHECK_AGAIN).await,
            Err(error) => {
                tracing::error!(%error, "the database cannot be checked");
                return;
            }
        }
    };
    for fault in faults {
        tracing::error!(
            fault,
            "the database is not fit for this service: run `doctor`"
        );
    }
}
