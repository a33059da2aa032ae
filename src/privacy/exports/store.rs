//! Statements on `data_exports` and `data_export_parts`, and the statements on all tables of the inventory that an export
//! includes.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use job_queue::Expired;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};
use uuid::Uuid;

use super::model::{ArchiveAttempt, Export, ExportState, Failure, StoredArchive, Subject, Written};
use crate::ids::{ExportId, UserId};
use crate::privacy::model::{Column, Export as Part, Owner, Store};

pub(super) const EXPIRED: Expired = Expired::new("data exports", "data_exports", "expires_at");

/// Returns false if an export of the user is being made.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    id: ExportId,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "INSERT INTO data_exports (id, user_id, state, requested_at) VALUES ($1, $2, 'pending', $3)
         ON CONFLICT (user_id) WHERE state = 'pending' DO NOTHING",
        id.0,
        user_id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// When the last export was asked for that did not fail.
pub(super) async fn find_last_request(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    before: ExportId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT requested_at FROM data_exports WHERE user_id = $1 AND id <> $2 AND state <> 'failed'
         ORDER BY requested_at DESC LIMIT 1",
        user_id.0,
        before.0,
    )
    .fetch_optional(conn)
    .await
}

/// The export that was asked for last and has not expired.
pub(super) async fn find_latest(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<Option<Export>, sqlx::Error> {
    sqlx::query_as!(
        Export,
        r#"SELECT id AS "id: ExportId", state AS "state: ExportState", requested_at, size, expires_at,
                  failure AS "failure: Failure"
           FROM data_exports WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > $2)
           ORDER BY requested_at DESC LIMIT 1"#,
        user_id.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// The archive of an export that is ready and has not expired.
pub(super) async fn find_archive(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    id: ExportId,
    now: DateTime<Utc>,
) -> Result<Option<StoredArchive>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT attempt AS "attempt!", parts AS "parts!", size AS "size!", is_in_store AS "is_in_store!"
           FROM data_exports WHERE user_id = $1 AND id = $2 AND state = 'ready' AND expires_at > $3"#,
        user_id.0,
        id.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| StoredArchive {
        attempt: ArchiveAttempt {
            user_id,
            export_id: id,
            attempt: row.attempt,
        },
        parts: row.parts,
        size: row.size,
        is_in_store: row.is_in_store,
    }))
}

/// The user of an export that is to be made.
pub(super) async fn find_pending(
    conn: impl PgExecutor<'_>,
    id: ExportId,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM data_exports WHERE id = $1 AND state = 'pending'"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Returns false if another attempt was faster.
pub(super) async fn set_ready(
    conn: impl PgExecutor<'_>,
    attempt: ArchiveAttempt,
    (written, is_in_store): (Written, bool),
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE data_exports SET state = 'ready', attempt = $3, parts = $4, size = $5, is_in_store = $6, ready_at = $7,
                                 expires_at = $8
         WHERE user_id = $1 AND id = $2 AND state = 'pending'",
        attempt.user_id.0,
        attempt.export_id.0,
        attempt.attempt,
        written.parts,
        written.size,
        is_in_store,
        now,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks an export that cannot be made; its user may ask again at once.
pub(super) async fn set_failed(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    id: ExportId,
    failure: Failure,
    expires_at: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE data_exports SET state = 'failed', failure = $3, expires_at = $4
         WHERE user_id = $1 AND id = $2 AND state = 'pending'",
        user_id.0,
        id.0,
        failure as Failure,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn insert_part(
    conn: impl PgExecutor<'_>,
    attempt: ArchiveAttempt,
    part: i32,
    bytes: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO data_export_parts (export_id, attempt, part, bytes) VALUES ($1, $2, $3, $4)",
        attempt.export_id.0,
        attempt.attempt,
        part,
        bytes,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn get_part(
    conn: impl PgExecutor<'_>,
    attempt: ArchiveAttempt,
    part: i32,
) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT bytes FROM data_export_parts WHERE export_id = $1 AND attempt = $2 AND part = $3",
        attempt.export_id.0,
        attempt.attempt,
        part,
    )
    .fetch_one(conn)
    .await
}

/// Deletes parts of other attempts than the one that succeeded, or all if none did.
pub(super) async fn delete_other_parts(
    conn: impl PgExecutor<'_>,
    id: ExportId,
    kept: Option<Uuid>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM data_export_parts WHERE export_id = $1 AND attempt IS DISTINCT FROM $2",
        id.0,
        kept,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Expired exports whose archives are objects.
pub(super) async fn list_expired(
    conn: impl PgExecutor<'_>,
    now: DateTime<Utc>,
    most: i64,
) -> Result<Vec<(UserId, ExportId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT user_id AS "user_id: UserId", id AS "id: ExportId" FROM data_exports
           WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"#,
        now,
        most,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.id)).collect())
}

pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    id: ExportId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM data_exports WHERE user_id = $1 AND id = $2",
        user_id.0,
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Data types of a table's columns, as PostgreSQL names them.
pub(super) async fn list_types(
    conn: impl PgExecutor<'_>,
    table: &str,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT a.attname AS "name!", format_type(a.atttypid, NULL) AS "data_type!"
           FROM pg_attribute AS a
           WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped"#,
        table,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.name, row.data_type))
        .collect())
}

/// Opens a cursor on the rows of a table that belong to a person, each as a JSON object of the columns that are included. The
/// time limit of statements is then that of one batch.
pub(super) async fn open_rows(
    conn: &mut PgConnection,
    table: &Store,
    subject: &Subject,
) -> Result<(), sqlx::Error> {
    // A cursor takes no parameters.
    sqlx::query!(
        "SELECT set_config('app.subject', $1::uuid::text, true) AS user_id,
                set_config('app.subject_account', $2::uuid::text, true) AS account_id,
                set_config('app.subject_email', $3, true) AS email",
        subject.user_id.0,
        subject.user_id.personal_account().0,
        subject.email.as_str(),
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(select(table)))
        .execute(conn)
        .await?;
    Ok(())
}

/// The next rows of the cursor; none at its end.
pub(super) async fn fetch_rows(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("FETCH 200 FROM included_rows")
        .persistent(false)
        .fetch_all(conn)
        .await
}

/// Closes the cursor, so that the transaction can open one on another table.
pub(super) async fn close_rows(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("CLOSE included_rows").execute(conn).await?;
    Ok(())
}

/// Columns of a table in an export.
pub(super) fn included(table: &'static Store) -> impl Iterator<Item = &'static Column> {
    let columns = table.columns.iter();
    columns.filter(|column| table.export_of(column) == Part::Included)
}

const USER: &str = "current_setting('app.subject')::uuid";
const ACCOUNT: &str = "current_setting('app.subject_account')::uuid";
const EMAIL: &str = "current_setting('app.subject_email')";

/// Statement that opens the cursor. Names are those of the inventory.
fn select(table: &Store) -> String {
    let is_audit = table.name == crate::audit::TABLE;
    let mut sql = String::from(
        "DECLARE included_rows NO SCROLL CURSOR FOR SELECT row_to_json(included)::text FROM (SELECT ",
    );
    let columns = table.columns.iter();
    let columns = columns.filter(|column| table.export_of(column) == Part::Included);
    for (at, column) in columns.enumerate() {
        if at > 0 {
            sql.push_str(", ");
        }
        let name = column.name;
        let _ = if is_audit && OF_ACTOR.contains(&name) {
            // The identity of an administrator is not the person's.
            write!(
                sql,
                "CASE WHEN actor_id IS NULL OR actor_id = {USER} THEN \"{name}\" END AS \"{name}\""
            )
        } else {
            write!(sql, "\"{name}\"")
        };
    }
    let _ = write!(sql, " FROM \"{}\" WHERE ", table.name);
    if is_audit {
        let _ = write!(
            sql,
            "user_id = {USER} OR user_id IS NULL AND (actor_id = {USER} OR account_id = {ACCOUNT})"
        );
    } else {
        for (at, owner) in table.owners.iter().enumerate() {
            if at > 0 {
                sql.push_str(" OR ");
            }
            let _ = match owner {
                Owner::User(column) => write!(sql, "\"{column}\" = {USER}"),
                Owner::Account(column) => write!(sql, "\"{column}\" = {ACCOUNT}"),
                Owner::Address(column) => write!(sql, "\"{column}\" = {EMAIL}"),
                Owner::Customer(_) | Owner::Row(..) => write!(sql, "false"),
            };
        }
    }
    sql.push_str(") AS included");
    sql
}

/// Columns of the audit log about who caused an entry.
const OF_ACTOR: [&str; 4] = ["actor_id", "session_id", "ip", "user_agent"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::inventory::TABLES;

    #[test]
    fn rows_of_each_included_table_are_found_by_its_owners() {
        for table in TABLES.iter().copied().flatten() {
            if table.export != Part::Included {
                continue;
            }
            let is_found = |owner: &Owner| !matches!(owner, Owner::Customer(_) | Owner::Row(..));
            assert!(table.owners.iter().all(is_found), "{}", table.name);
            assert!(included(table).next().is_some(), "{}", table.name);
        }
    }
}
