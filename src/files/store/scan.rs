//! Statements of the virus scan.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::files::key::ObjectKey;
use crate::ids::{AccountId, FileId};

/// File that waits for its scan.
#[derive(Clone, Copy, Debug)]
pub(in crate::files) struct Waiting {
    pub(in crate::files) account_id: AccountId,
    pub(in crate::files) id: FileId,
}

/// Files of all accounts that have waited since before a time, the oldest first.
pub(in crate::files) async fn list_scanning(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<Vec<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"SELECT account_id AS "account_id: AccountId", id AS "id: FileId"
           FROM files WHERE state = 'scanning' AND completed_at < $1 ORDER BY completed_at LIMIT $2"#,
        before,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Time since which the oldest file of all accounts waits.
pub(in crate::files) async fn find_oldest(
    conn: impl PgExecutor<'_>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("SELECT min(completed_at) FROM files WHERE state = 'scanning'")
        .fetch_one(conn)
        .await
}

/// Completes a file that waits; false if it no longer does.
pub(in crate::files) async fn set_clean(
    conn: impl PgExecutor<'_>,
    object: ObjectKey,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE files SET state = 'complete', needs_scan = false
         WHERE account_id = $1 AND id = $2 AND object_id = $3 AND state = 'scanning'",
        object.account_id.0,
        object.id.0,
        object.object_id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks a file that waits as infected; false if it no longer does.
pub(in crate::files) async fn set_infected(
    conn: impl PgExecutor<'_>,
    object: ObjectKey,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE files SET state = 'infected'
         WHERE account_id = $1 AND id = $2 AND object_id = $3 AND state = 'scanning'",
        object.account_id.0,
        object.id.0,
        object.object_id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
