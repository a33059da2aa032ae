//! Inspection of a database: encoding, schemas, poolers in between, clock.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clock::ClockSample;
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, PgConnection, PgExecutor, Row as _};
use tokio::time::{sleep, timeout};

use super::{Db, Heartbeat};

/// Time limit of the probe for a pooler, which may wait for a free session.
const SESSION_PROBE: Duration = Duration::from_secs(2);

/// Retry interval while the database does not respond.
const CHECK_AGAIN: Duration = Duration::from_secs(5);

/// Executes a statement, unprepared: some poolers do not keep prepared ones.
pub async fn ping(db: &Db) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("SELECT 1").execute(db).await.map(drop)
}

/// Reads the database's clock, and whether it is a standby, in one round trip, unprepared.
pub(super) async fn read_clock(
    connection: &mut PgConnection,
) -> Result<(ClockSample, bool), sqlx::Error> {
    let asked = Instant::now();
    let sql =
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, pg_is_in_recovery()";
    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
    let replied = Instant::now();
    let sample = ClockSample {
        asked,
        replied,
        micros: row.try_get(0)?,
    };
    Ok((sample, row.try_get(1)?))
}

/// Returns how far the database's clock is ahead of `now`.
pub async fn clock_skew(db: &Db, now: DateTime<Utc>) -> Result<TimeDelta, sqlx::Error> {
    let theirs: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(db)
        .await?;
    Ok(theirs - now)
}

/// Encoding of the database.
pub async fn encoding(conn: impl PgExecutor<'_>) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()")
        .fetch_one(conn)
        .await
}

/// Schema that sqlx's table of migrations is in, where that is not `public`.
pub async fn tables_elsewhere(conn: impl PgExecutor<'_>) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE relname = '_sqlx_migrations' AND relkind = 'r'
             AND nspname IN (current_user, current_schema())
             AND to_regclass('public._sqlx_migrations') IS NULL",
    )
    .fetch_optional(conn)
    .await
}

/// Checks encoding, schema, and whether a pooler shares sessions.
pub async fn database_faults(db: &Db, heartbeat: &Heartbeat) -> Result<Vec<String>, sqlx::Error> {
    let shared = || {
        vec![
            "a pooler hands out sessions by the transaction, such as PgBouncer with pool_mode = transaction: \
             prepared statements and timeouts need pool_mode = session"
                .to_owned(),
        ]
    };
    // First, since it would make the statements below fail.
    if shares_sessions(heartbeat).await? {
        return Ok(shared());
    }
    match session_faults(db).await {
        // The probe misses a pooler whose sessions other clients take meanwhile.
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

/// Returns whether a prepared statement was missing or duplicate: sqlx numbers the statements of each
/// connection, so that either means a shared session.
fn is_lost_statement(error: &sqlx::Error) -> bool {
    const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    const INVALID_STATEMENT_NAME: &str = "26000";
    [DUPLICATE_PREPARED_STATEMENT, INVALID_STATEMENT_NAME]
        .iter()
        .any(|code| super::has_code(error, code))
}

/// Returns whether a pooler distributes the statements of a connection over sessions: what one connection
/// has set is lost once another one is in a transaction.
async fn shares_sessions(heartbeat: &Heartbeat) -> Result<bool, sqlx::Error> {
    let (mut one, mut other) = (heartbeat.connect().await?, heartbeat.connect().await?);
    let probing = async {
        one.execute(sqlx::raw_sql("SET probe.session = 'one'"))
            .await?;
        other.execute(sqlx::raw_sql("BEGIN")).await?;
        let (ours, theirs) = (
            session_mark(&mut one).await?,
            session_mark(&mut other).await?,
        );
        Ok(ours.as_deref() != Some("one") || theirs.as_deref() == Some("one"))
    };
    // A pooler with one session left waits for the transaction to end.
    timeout(SESSION_PROBE, probing).await.unwrap_or(Ok(true))
}

async fn session_mark(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    let sql = sqlx::raw_sql("SELECT current_setting('probe.session', true)");
    let row: PgRow = connection.fetch_one(sql).await?;
    row.try_get(0)
}

/// Logs the result of [`database_faults`], once the database responds.
pub async fn log_faults(db: Db, heartbeat: Heartbeat) {
    let faults = loop {
        match database_faults(&db, &heartbeat).await {
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
