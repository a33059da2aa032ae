//! Statements on `accounts` and `account_slugs`, and the purge of organisations.

use chrono::{DateTime, Utc};
use http_toolkit::{PageSize, TimeCursor};
use sqlx::PgExecutor;

use super::model::{Organisation, OrganisationName};
use super::slug::Slug;
use crate::ids::{AccountId, UserId};
use crate::roles::AccountRole;

mod admin;
mod erasure;
pub(super) mod invitations;
pub(super) mod members;

pub use admin::{find_summary, list_summaries};
pub use erasure::{delete_empty_books, insert_books, list_solely_owned, lock_owned, remove_member};
pub use invitations::ERASED;
pub use members::list as list_members;

/// Locks an account until the end of the transaction, so that concurrent changes of its members, or of what it may
/// have so many of, are made one after the other. Returns false if it does not exist or is deleted.
pub async fn lock_account(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query_scalar!(
        r#"SELECT 1 AS "found!" FROM accounts WHERE id = $1 AND deleted_at IS NULL FOR UPDATE"#,
        account_id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    id: AccountId,
    name: &OrganisationName,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO accounts (id, kind, name, created_at, updated_at) VALUES ($1, 'organisation', $2, $3, $3)",
        id.0,
        name.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives an organisation a slug; returns whether it is free. The present slug becomes a former one. A former slug of
/// another organisation is free once it was replaced before `free_since`.
pub(super) async fn set_slug(
    conn: &mut sqlx::PgConnection,
    id: AccountId,
    slug: &Slug,
    free_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query!(
        "UPDATE account_slugs SET replaced_at = $3 WHERE account_id = $1 AND replaced_at IS NULL AND slug <> $2",
        id.0,
        slug.as_str(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!(
        "INSERT INTO account_slugs AS s (slug, account_id) VALUES ($2, $1)
         ON CONFLICT ON CONSTRAINT account_slugs_pkey DO UPDATE SET account_id = $1, replaced_at = NULL
         WHERE s.account_id = $1 OR s.replaced_at <= $3",
        id.0,
        slug.as_str(),
        free_since,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn set_name(
    conn: impl PgExecutor<'_>,
    id: AccountId,
    name: Option<&OrganisationName>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE accounts SET name = coalesce($2, name), updated_at = $3 WHERE id = $1",
        id.0,
        name.map(OrganisationName::as_str),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The organisation, as one of its members sees it; deleted ones too.
pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    id: AccountId,
    user_id: UserId,
) -> Result<Option<Organisation>, sqlx::Error> {
    sqlx::query_as!(
        Organisation,
        r#"SELECT a.id AS "id: AccountId", a.name AS "name!", s.slug AS "slug: Slug", m.role AS "role: AccountRole",
                  (SELECT count(*) FROM memberships WHERE account_id = a.id) AS "members!",
                  a.created_at, a.updated_at, a.deleted_at
           FROM accounts AS a
           JOIN memberships AS m ON m.account_id = a.id AND m.user_id = $2
           JOIN account_slugs AS s ON s.account_id = a.id AND s.replaced_at IS NULL
           WHERE a.id = $1"#,
        id.0,
        user_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// The organisations of a user, the newest first. Deleted ones are listed for their owners.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<Organisation>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        Organisation,
        r#"SELECT a.id AS "id: AccountId", a.name AS "name!", s.slug AS "slug: Slug", m.role AS "role: AccountRole",
                  (SELECT count(*) FROM memberships WHERE account_id = a.id) AS "members!",
                  a.created_at, a.updated_at, a.deleted_at
           FROM memberships AS m
           JOIN accounts AS a ON a.id = m.account_id AND (a.deleted_at IS NULL OR m.role = 'owner')
           JOIN account_slugs AS s ON s.account_id = a.id AND s.replaced_at IS NULL
           WHERE m.user_id = $1 AND ($2::timestamptz IS NULL OR (a.created_at, a.id) < ($2, $3))
           ORDER BY a.created_at DESC, a.id DESC
           LIMIT $4"#,
        user_id.0,
        created_at,
        id,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

/// Deletes an organisation, or restores it with `None`; returns whether that changed anything. One that was deleted
/// before `restorable_since` stays deleted.
pub(super) async fn set_deleted(
    conn: impl PgExecutor<'_>,
    id: AccountId,
    deleted_at: Option<DateTime<Utc>>,
    restorable_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE accounts SET deleted_at = $2, updated_at = $4
         WHERE id = $1 AND kind = 'organisation' AND (deleted_at IS NULL) = ($2::timestamptz IS NOT NULL)
           AND (deleted_at IS NULL OR deleted_at > $3)",
        id.0,
        deleted_at,
        restorable_since,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes up to `most` organisations that were deleted before a time, with their rows in tables that refer to them.
/// One that has paid keeps its row without its name, and the books with it. Returns their ids.
pub(super) async fn purge(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<Vec<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH due AS MATERIALIZED (
               SELECT a.id, EXISTS (SELECT FROM subscriptions AS s WHERE s.account_id = a.id)
                            OR EXISTS (SELECT FROM payments AS p WHERE p.account_id = a.id) AS has_paid
               FROM accounts AS a
               WHERE a.deleted_at < $1 AND a.kind = 'organisation'
                 AND EXISTS (SELECT FROM account_slugs AS s WHERE s.account_id = a.id)
               ORDER BY a.deleted_at LIMIT $2
               FOR UPDATE OF a SKIP LOCKED
           ), slugs AS (
               DELETE FROM account_slugs WHERE account_id IN (SELECT id FROM due)
           ), members AS (
               DELETE FROM memberships WHERE account_id IN (SELECT id FROM due)
           ), invited AS (
               DELETE FROM invitations WHERE account_id IN (SELECT id FROM due)
           ), blocks AS (
               DELETE FROM invitation_blocks WHERE account_id IN (SELECT id FROM due)
           ), kept AS (
               UPDATE accounts SET name = '-' WHERE id IN (SELECT id FROM due WHERE has_paid)
           ), gone AS (
               DELETE FROM accounts WHERE id IN (SELECT id FROM due WHERE NOT has_paid)
           )
           SELECT id AS "id: AccountId" FROM due"#,
        before,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Deletes former slugs that were replaced before a time.
pub(super) async fn delete_former_slugs(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "DELETE FROM account_slugs WHERE slug IN (
             SELECT slug FROM account_slugs WHERE replaced_at <= $1 LIMIT $2
         )",
        before,
        most,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// An organisation that a slug leads to.
#[derive(Clone, Debug)]
pub(super) struct SlugTarget {
    pub(super) account_id: AccountId,
    /// The present slug, if this one is a former one.
    pub(super) renamed_to: Option<Slug>,
}

/// Slugs that were replaced before `former_since` lead nowhere.
pub(super) async fn find_slug(
    conn: impl PgExecutor<'_>,
    slug: &Slug,
    former_since: DateTime<Utc>,
) -> Result<Option<SlugTarget>, sqlx::Error> {
    sqlx::query_as!(
        SlugTarget,
        r#"SELECT s.account_id AS "account_id: AccountId", nullif(c.slug, s.slug) AS "renamed_to: Slug"
           FROM account_slugs AS s
           JOIN account_slugs AS c ON c.account_id = s.account_id AND c.replaced_at IS NULL
           WHERE s.slug = $1 AND (s.replaced_at IS NULL OR s.replaced_at > $2)"#,
        slug.as_str(),
        former_since,
    )
    .fetch_optional(conn)
    .await
}

/// The name of an organisation, and when it was deleted.
pub(super) async fn find_name(
    conn: impl PgExecutor<'_>,
    id: AccountId,
) -> Result<Option<(String, Option<DateTime<Utc>>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT name AS "name!", deleted_at FROM accounts WHERE id = $1 AND name IS NOT NULL"#,
        id.0
    );
    let row = row.fetch_optional(conn).await?;
    Ok(row.map(|row| (row.name, row.deleted_at)))
}

/// Returns whether this is new.
pub(super) async fn set_seats_exceeded(
    conn: impl PgExecutor<'_>,
    id: AccountId,
    is_exceeded: bool,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE accounts SET seats_exceeded_at = CASE WHEN $2 THEN $3::timestamptz END
         WHERE id = $1 AND (seats_exceeded_at IS NOT NULL) <> $2",
        id.0,
        is_exceeded,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
