//! Every statement on `files`.

use chrono::{DateTime, Utc};
use http_toolkit::{PageSize, TimeCursor};
use job_queue::OwnedRows;
use sqlx::PgExecutor;

use super::key::{ExportedFile, ObjectKey};
use super::model::{Announced, File, Row, Sha256, Stored};
use super::name::FileName;
use super::state::{FileStatus, State};
use crate::ids::{AccountId, FileId, UserId};

mod scan;
mod sweep;
mod verify;

pub(super) use scan::{find_oldest, list_scanning, set_clean, set_infected};
pub(super) use sweep::{
    FileObject, delete_expired, delete_infected, delete_of_purged_accounts, list_known,
    list_stored, purge, set_lost, take_deleted,
};
pub use verify::StoredFile;
pub(super) use verify::{
    count_verified, find_verify_state, list_differing, list_stored_after, list_unverified,
    list_with_objects, set_verified,
};

/// Complete files, and uploads that can still be completed.
pub(super) async fn count(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    now: DateTime<Utc>,
) -> Result<Stored, sqlx::Error> {
    sqlx::query_as!(
        Stored,
        r#"SELECT count(*) AS "count!", coalesce(sum(size), 0)::bigint AS "bytes!"
           FROM files
           WHERE account_id = $1
             AND (state IN ('scanning', 'complete', 'lost') OR state = 'pending' AND upload_expires_at > $2)"#,
        account_id.0,
        now,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    (account_id, user_id, id): (AccountId, UserId, FileId),
    new: &Announced,
    upload_expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO files (id, account_id, user_id, name, size, content_type, sha256, state, created_at, upload_expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9)",
        id.0,
        account_id.0,
        user_id.0,
        &new.name as &FileName,
        new.size.get(),
        new.file_type.as_str(),
        new.sha256 as Option<Sha256>,
        now,
        upload_expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: FileId,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"SELECT id AS "id: FileId", name AS "name: FileName", size, content_type, sha256 AS "sha256: Sha256",
                  user_id AS "uploaded_by: UserId", created_at, state AS "state: State", object_id, upload_expires_at
           FROM files WHERE account_id = $1 AND id = $2"#,
        account_id.0,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Files in any status, newest first.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<File>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        File,
        r#"SELECT id AS "id: FileId", state AS "status: FileStatus", name AS "name: FileName", size, content_type,
                  sha256 AS "sha256!: Sha256",
                  user_id AS "uploaded_by: UserId", created_at
           FROM files
           WHERE account_id = $1 AND state IN ('scanning', 'complete', 'infected')
             AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
           ORDER BY created_at DESC, id DESC
           LIMIT $4"#,
        account_id.0,
        created_at,
        id,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

/// Completes an upload with the object of one attempt; false if another attempt has, or the upload has expired.
pub(super) async fn complete(
    conn: impl PgExecutor<'_>,
    object: ObjectKey,
    sha256: Sha256,
    needs_scan: bool,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE files SET state = CASE WHEN $6 THEN 'scanning' ELSE 'complete' END, needs_scan = $6, object_id = $3,
                          sha256 = $4, completed_at = $5
         WHERE account_id = $1 AND id = $2 AND state = 'pending' AND upload_expires_at > $5",
        object.account_id.0,
        object.id.0,
        object.object_id,
        sha256 as Sha256,
        now,
        needs_scan,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes an upload whose bytes can never be a file.
pub(super) async fn delete_pending(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: FileId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM files WHERE account_id = $1 AND id = $2 AND state = 'pending'",
        account_id.0,
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks a file as deleted; false if there is none.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: FileId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE files SET state = 'deleted', deleted_at = $3
         WHERE account_id = $1 AND id = $2 AND state IN ('scanning', 'complete', 'infected')",
        account_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Complete files of an account after `after`, in the order of their ids.
pub async fn list_complete(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<FileId>,
    most: i64,
) -> Result<Vec<ExportedFile>, sqlx::Error> {
    sqlx::query_as!(
        ExportedFile,
        r#"SELECT id AS "id: FileId", name, account_id AS "account_id: AccountId", object_id AS "object_id!"
           FROM files
           WHERE account_id = $1 AND state = 'complete' AND object_id IS NOT NULL AND ($2::uuid IS NULL OR id > $2)
           ORDER BY id LIMIT $3"#,
        account_id.0,
        after.map(|id| id.0),
        most,
    )
    .fetch_all(conn)
    .await
}
/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 1] = [OwnedRows::new("files", "account_id")];
