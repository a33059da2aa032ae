//! What `doctor` and the heartbeat ask the database.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, Row as _};

use super::Db;
use crate::infra::ClockSample;

/// Whether the database answers.
pub async fn ping(db: &Db) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(db).await.map(|_| ())
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
