//! Inspection of a database: encoding, schemas, settings of sessions, clock.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clock::ClockSample;
use sqlx::{PgConnection, PgExecutor, Row as _};
use tokio::time::sleep;

use super::Db;
use super::pooling::{direct_faults, is_lost_statement, pooler_faults};

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

/// Checks poolers in between, encoding, schema and settings of sessions.
pub async fn database_faults(db: &Db) -> Result<Vec<String>, sqlx::Error> {
    // First, since a pooler would make the statements below fail.
    let faults = pooler_faults(db).await?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    match session_faults(db).await {
        // The probe misses a pooler whose sessions other clients take meanwhile.
        Err(error) if is_lost_statement(&error) => Ok(vec![
            "prepared statements are lost: a pooler shares sessions by the transaction and does not follow them".to_owned(),
        ]),
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
    let differing = db.settings().differing(db).await?;
    if db.direct().is_none() && !differing.is_empty() {
        faults.push("what a session is set to is lost between statements".to_owned());
    }
    if db.direct().is_some() && !differing.is_empty() {
        let differing: Vec<_> = differing
            .iter()
            .map(|(setting, value)| setting.difference(value))
            .collect();
        faults.push(format!(
            "{}: run `migrate` with DATABASE_DIRECT_URL, which makes them defaults of the role, and close the sessions \
             that the pooler has open (RECONNECT of PgBouncer)",
            differing.join(", ")
        ));
    }
    Ok(faults)
}

/// Logs the results of [`database_faults`] and [`direct_faults`], once the database responds.
pub async fn log_faults(db: Db) {
    let all = async || {
        let mut faults = database_faults(&db).await?;
        faults.extend(direct_faults(&db).await?);
        Ok::<_, sqlx::Error>(faults)
    };
    let faults = loop {
        match all().await {
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
