//! Every statement on `secrets` and `secret_versions`.

use chrono::{DateTime, Utc};
use crypto::Sealed;
use http_toolkit::PageSize;
use job_queue::OwnedRows;
use sqlx::PgExecutor;

use super::model::{KEPT_VERSIONS, NameCursor, Secret, SecretName, SecretVersion, Version};
use crate::ids::{AccountId, SecretId};

pub(super) async fn count(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM secrets WHERE account_id = $1"#,
        account_id.0,
    )
    .fetch_one(conn)
    .await
}

/// In the order of their names.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<NameCursor>,
    limit: PageSize,
) -> Result<Vec<Secret>, sqlx::Error> {
    let after = after.map(|NameCursor(name)| name);
    sqlx::query_as!(
        Secret,
        r#"SELECT s.id AS "id: SecretId", s.name AS "name: SecretName", s.version AS "version: Version",
                  v.last_four, s.created_at, s.updated_at, s.revealed_at
           FROM secrets AS s
           JOIN secret_versions AS v ON v.account_id = s.account_id AND v.secret_id = s.id AND v.version = s.version
           WHERE s.account_id = $1 AND s.name > coalesce($2, '')
           ORDER BY s.name LIMIT $3"#,
        account_id.0,
        after.as_ref().map(SecretName::as_str),
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    name: &SecretName,
) -> Result<Option<Secret>, sqlx::Error> {
    sqlx::query_as!(
        Secret,
        r#"SELECT s.id AS "id: SecretId", s.name AS "name: SecretName", s.version AS "version: Version",
                  v.last_four, s.created_at, s.updated_at, s.revealed_at
           FROM secrets AS s
           JOIN secret_versions AS v ON v.account_id = s.account_id AND v.secret_id = s.id AND v.version = s.version
           WHERE s.account_id = $1 AND s.name = $2"#,
        account_id.0,
        name.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// Serializes the changes of a secret; returns false if there is none of this name.
pub(super) async fn lock(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    name: &SecretName,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query_scalar!(
        r#"SELECT 1 AS "found!" FROM secrets WHERE account_id = $1 AND name = $2 FOR UPDATE"#,
        account_id.0,
        name.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
    name: &SecretName,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO secrets (id, account_id, name, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
        id.0,
        account_id.0,
        name.as_str(),
        Version::FIRST.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a version that is to be inserted the current one.
pub(super) async fn update_version(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
    version: Version,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE secrets SET version = $3, updated_at = $4 WHERE account_id = $1 AND id = $2",
        account_id.0,
        id.0,
        version.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores the value of a version, and deletes those that are no longer kept.
pub(super) async fn insert_version(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
    version: Version,
    (value, last_four): (&Sealed, Option<&str>),
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH old AS (
             DELETE FROM secret_versions WHERE account_id = $1 AND secret_id = $2 AND version <= $3 - $7::integer
         )
         INSERT INTO secret_versions (account_id, secret_id, version, value, last_four, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        account_id.0,
        id.0,
        version.0,
        value as &Sealed,
        last_four,
        now,
        KEPT_VERSIONS,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The current version first.
pub(super) async fn list_versions(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
) -> Result<Vec<SecretVersion>, sqlx::Error> {
    sqlx::query_as!(
        SecretVersion,
        r#"SELECT version AS "version: Version", last_four, created_at FROM secret_versions
           WHERE account_id = $1 AND secret_id = $2 ORDER BY version DESC"#,
        account_id.0,
        id.0,
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn find_value(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
    version: Version,
) -> Result<Option<Sealed>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT value AS "value: Sealed" FROM secret_versions
           WHERE account_id = $1 AND secret_id = $2 AND version = $3"#,
        account_id.0,
        id.0,
        version.0,
    )
    .fetch_optional(conn)
    .await
}

/// The current version with its value, of one moment: between two statements the version could be replaced and deleted.
pub(super) async fn find_current_value(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    name: &SecretName,
) -> Result<Option<(SecretId, Version, Sealed)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT s.id AS "id: SecretId", s.version AS "version: Version", v.value AS "value: Sealed"
           FROM secrets AS s
           JOIN secret_versions AS v ON v.account_id = s.account_id AND v.secret_id = s.id AND v.version = s.version
           WHERE s.account_id = $1 AND s.name = $2"#,
        account_id.0,
        name.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id, row.version, row.value)))
}

pub(super) async fn update_revealed(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE secrets SET revealed_at = $3 WHERE account_id = $1 AND id = $2",
        account_id.0,
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a secret with its versions.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    id: SecretId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM secrets WHERE account_id = $1 AND id = $2",
        account_id.0,
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes secrets of organisations that were deleted before a time. The purge of organisations keeps the row of one
/// that has paid, so that the cascade does not suffice.
pub(super) async fn delete_of_deleted(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM secrets WHERE id IN (
             SELECT s.id FROM accounts AS a JOIN secrets AS s ON s.account_id = a.id
             WHERE a.deleted_at < $1 LIMIT $2 FOR UPDATE OF s SKIP LOCKED
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub const ERASED: [OwnedRows; 1] = [OwnedRows::new("secrets", "account_id")];
