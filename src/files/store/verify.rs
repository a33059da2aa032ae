//! Statements of the comparison of files with their objects, on files of all accounts.

use chrono::{DateTime, Utc};
use object_store::Content;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::files::key::ObjectKey;
use crate::files::model::Sha256;
use crate::files::state::{Difference, State};
use crate::ids::{AccountId, FileId};

/// Row with the object that it names.
#[derive(Clone, Copy, Debug)]
pub struct StoredFile {
    pub(in crate::files) account_id: AccountId,
    pub id: FileId,
    pub(in crate::files) object_id: Uuid,
    pub(in crate::files) size: i64,
    pub(in crate::files) sha256: Sha256,
    pub(in crate::files) state: State,
    pub(in crate::files) needs_scan: bool,
    pub completed_at: DateTime<Utc>,
}

impl StoredFile {
    /// Key of the object.
    #[must_use]
    pub fn key(&self) -> String {
        self.object().text()
    }

    pub(in crate::files) const fn object(&self) -> ObjectKey {
        ObjectKey {
            account_id: self.account_id,
            id: self.id,
            object_id: self.object_id,
        }
    }

    /// Bytes that the object should have.
    #[must_use]
    pub const fn content(&self) -> Content {
        Content {
            size: self.size.unsigned_abs(),
            sha256: *self.sha256.bytes(),
        }
    }

    /// False while the file waits for the virus scanner.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        match self.state {
            State::Scanning => false,
            // Its object was lost before it was scanned.
            State::Lost => !self.needs_scan,
            _ => true,
        }
    }
}

/// Reads files by the rest of the statement and its arguments.
macro_rules! stored_files {
    ($rest:tt, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            StoredFile,
            r#"SELECT account_id AS "account_id: AccountId", id AS "id: FileId", object_id AS "object_id!", size,
                      sha256 AS "sha256!: Sha256", state AS "state: State", needs_scan, completed_at AS "completed_at!"
               FROM files "# + $rest,
            $($argument),+
        )
    };
}

/// Files that should have an object, in the order of the keys, after one of them.
pub(in crate::files) async fn list_stored_after(
    conn: impl PgExecutor<'_>,
    after: (Uuid, Uuid),
    most: i64,
) -> Result<Vec<StoredFile>, sqlx::Error> {
    stored_files!(
        r#"WHERE state IN ('scanning', 'complete', 'lost') AND (account_id, id) > ($1, $2)
           ORDER BY account_id, id LIMIT $3"#,
        after.0,
        after.1,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Files that were compared longest ago, and not since `before`, without those of `failed`.
pub(in crate::files) async fn list_unverified(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    failed: &[Uuid],
    most: i64,
) -> Result<Vec<StoredFile>, sqlx::Error> {
    stored_files!(
        r#"WHERE state IN ('scanning', 'complete', 'lost') AND coalesce(verified_at, completed_at) < $1
             AND id <> ALL($2)
           ORDER BY coalesce(verified_at, completed_at), id LIMIT $3"#,
        before,
        failed,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Files that differed when they were last compared, in the order of their ids, after one of them.
pub(in crate::files) async fn list_differing(
    conn: impl PgExecutor<'_>,
    after: Uuid,
    most: i64,
) -> Result<Vec<StoredFile>, sqlx::Error> {
    stored_files!(
        r#"WHERE difference IS NOT NULL AND state IN ('scanning', 'complete', 'lost') AND id > $1
           ORDER BY id LIMIT $2"#,
        after,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Files, deleted ones included, that name an object.
pub(in crate::files) async fn list_with_objects(
    conn: impl PgExecutor<'_>,
    ids: &[Uuid],
) -> Result<Vec<StoredFile>, sqlx::Error> {
    stored_files!(
        r#"WHERE id = ANY($1) AND state IN ('scanning', 'complete', 'lost', 'deleted')"#,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Numbers of files.
#[derive(Clone, Copy, Debug)]
pub(in crate::files) struct VerifyCounts {
    /// Those that should have an object.
    pub(in crate::files) all: i64,
    /// Those that were compared since a time.
    pub(in crate::files) verified: i64,
}

pub(in crate::files) async fn count_verified(
    conn: impl PgExecutor<'_>,
    since: DateTime<Utc>,
) -> Result<VerifyCounts, sqlx::Error> {
    sqlx::query_as!(
        VerifyCounts,
        r#"SELECT count(*) AS "all!", count(*) FILTER (WHERE verified_at > $1) AS "verified!"
           FROM files WHERE state IN ('scanning', 'complete', 'lost')"#,
        since,
    )
    .fetch_one(conn)
    .await
}

/// Number of files that differ, and the time of the comparison that is longest ago.
#[derive(Clone, Copy, Debug)]
pub(in crate::files) struct VerifyState {
    pub(in crate::files) differing: i64,
    pub(in crate::files) oldest: Option<DateTime<Utc>>,
}

pub(in crate::files) async fn find_verify_state(
    conn: impl PgExecutor<'_>,
) -> Result<VerifyState, sqlx::Error> {
    sqlx::query_as!(
        VerifyState,
        r#"SELECT (SELECT count(*) FROM files
                   WHERE difference IS NOT NULL AND state IN ('scanning', 'complete', 'lost')) AS "differing!",
                  (SELECT coalesce(verified_at, completed_at) FROM files
                   WHERE state IN ('scanning', 'complete', 'lost')
                   ORDER BY coalesce(verified_at, completed_at), id LIMIT 1) AS oldest"#,
    )
    .fetch_one(conn)
    .await
}

/// Sets the outcome of a comparison, of all bytes or of the size alone; false if the file has no object any more, or another
/// one, or if there is nothing to change.
pub(in crate::files) async fn set_verified(
    conn: impl PgExecutor<'_>,
    object: ObjectKey,
    difference: Option<Difference>,
    of_all_bytes: bool,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    // The size alone does not disprove an earlier difference of the bytes.
    let done = sqlx::query!(
        "UPDATE files SET verified_at = CASE WHEN $5 THEN $6 ELSE verified_at END, difference = $4
         WHERE account_id = $1 AND id = $2 AND object_id = $3 AND state IN ('scanning', 'complete', 'lost')
           AND ($5 OR $4::text IS NOT NULL OR difference IN ('missing', 'size'))",
        object.account_id.0,
        object.id.0,
        object.object_id,
        difference as Option<Difference>,
        of_all_bytes,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
