//! Statements of the sweep, on files of all accounts.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::files::state::State;
use crate::ids::{AccountId, FileId};

/// Row with an object.
#[derive(Clone, Copy, Debug)]
pub(in crate::files) struct FileObject {
    pub(in crate::files) account_id: AccountId,
    pub(in crate::files) id: FileId,
    pub(in crate::files) object_id: Uuid,
    pub(in crate::files) state: State,
}

/// Deletes uploads that expired before a time.
pub(in crate::files) async fn delete_expired(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM files WHERE id IN (
             SELECT id FROM files WHERE state = 'pending' AND upload_expires_at < $1
             ORDER BY upload_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes files of organisations that were purged and whose row is kept with the books.
pub(in crate::files) async fn delete_of_purged_accounts(
    conn: impl PgExecutor<'_>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM files WHERE id IN (
             SELECT f.id FROM accounts AS a JOIN files AS f ON f.account_id = a.id
             WHERE a.deleted_at IS NOT NULL AND a.kind = 'organisation'
               AND NOT EXISTS (SELECT FROM account_slugs AS s WHERE s.account_id = a.id)
             LIMIT $1
         )",
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes infected files, whose object is gone, that were completed before a time.
pub(in crate::files) async fn delete_infected(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM files WHERE id IN (
             SELECT id FROM files WHERE state = 'infected' AND completed_at < $1
             ORDER BY completed_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Files that were deleted before a time.
pub(in crate::files) async fn take_deleted(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<Vec<FileObject>, sqlx::Error> {
    sqlx::query_as!(
        FileObject,
        r#"SELECT account_id AS "account_id: AccountId", id AS "id: FileId", object_id AS "object_id!",
                  state AS "state: State"
           FROM files AS f WHERE state = 'deleted' AND deleted_at < $1
             AND NOT EXISTS (SELECT FROM legal_holds AS h WHERE h.user_id = f.account_id)
           ORDER BY deleted_at LIMIT $2"#,
        before,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Removes the row of a deleted file, whose object is gone.
pub(in crate::files) async fn purge(
    conn: impl PgExecutor<'_>,
    object: FileObject,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM files WHERE account_id = $1 AND id = $2 AND state = 'deleted'",
        object.account_id.0,
        object.id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Objects of these files that rows name, in any state but infected.
pub(in crate::files) async fn list_known(
    conn: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT object_id AS "object_id!" FROM files WHERE id = ANY($1) AND object_id IS NOT NULL AND state <> 'infected'"#,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Files after one and up to another that should have an object since `before`.
pub(in crate::files) async fn list_stored(
    conn: impl PgExecutor<'_>,
    after: (Uuid, Uuid),
    until: (Uuid, Uuid),
    before: DateTime<Utc>,
) -> Result<Vec<FileObject>, sqlx::Error> {
    sqlx::query_as!(
        FileObject,
        r#"SELECT account_id AS "account_id: AccountId", id AS "id: FileId", object_id AS "object_id!",
                  state AS "state: State"
           FROM files
           WHERE state IN ('scanning', 'complete', 'lost') AND (account_id, id) > ($1, $2) AND (account_id, id) <= ($3, $4)
             AND completed_at < $5"#,
        after.0,
        after.1,
        until.0,
        until.1,
        before,
    )
    .fetch_all(conn)
    .await
}

/// Sets whether the object of a completed file is lost; false if the file was deleted meanwhile. Found again, a file that was
/// not scanned waits for that.
pub(in crate::files) async fn set_lost(
    conn: impl PgExecutor<'_>,
    object: FileObject,
    is_lost: bool,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE files SET state = CASE WHEN $3 THEN 'lost' WHEN needs_scan THEN 'scanning' ELSE 'complete' END,
                          difference = CASE WHEN $3 THEN 'missing' ELSE nullif(difference, 'missing') END
         WHERE account_id = $1 AND id = $2 AND state IN ('scanning', 'complete', 'lost')",
        object.account_id.0,
        object.id.0,
        is_lost,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
