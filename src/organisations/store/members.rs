//! Statements on `memberships`.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use http_toolkit::{PageSize, TimeCursor};
use sqlx::PgExecutor;

use crate::ids::{AccountId, UserId};
use crate::organisations::model::members::Member;
use crate::roles::{AccountRole, Permission};
use crate::users::PersonName;

pub(in crate::organisations) async fn insert(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
    role: AccountRole,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO memberships (account_id, user_id, role, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
        account_id.0,
        user_id.0,
        role.to_string(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The role of a user in an organisation that is not deleted.
pub(in crate::organisations) async fn find_role(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
) -> Result<Option<AccountRole>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT m.role AS "role: AccountRole"
           FROM memberships AS m
           JOIN accounts AS a ON a.id = m.account_id AND a.deleted_at IS NULL
           WHERE m.account_id = $1 AND m.user_id = $2"#,
        account_id.0,
        user_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// In the order in which they joined; reads one row more than the page has.
pub async fn list(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    after: Option<TimeCursor>,
    limit: PageSize,
    avatar_root: &str,
) -> Result<Vec<Member>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    sqlx::query_as!(
        Member,
        r#"SELECT m.user_id AS "user_id: UserId", u.email AS "email: EmailAddress",
                  u.first_name AS "first_name: PersonName", u.last_name AS "last_name: PersonName",
                  $5 || a.id::text AS avatar_url, m.role AS "role: AccountRole", m.created_at
           FROM memberships AS m
           JOIN users AS u ON u.id = m.user_id
           LEFT JOIN avatars AS a ON a.user_id = m.user_id
           WHERE m.account_id = $1 AND ($2::timestamptz IS NULL OR (m.created_at, m.user_id) > ($2, $3))
           ORDER BY m.created_at, m.user_id
           LIMIT $4"#,
        account_id.0,
        created_at,
        id,
        limit.one_more(),
        avatar_root,
    )
    .fetch_all(conn)
    .await
}

pub(in crate::organisations) async fn get(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
    avatar_root: &str,
) -> Result<Option<Member>, sqlx::Error> {
    sqlx::query_as!(
        Member,
        r#"SELECT m.user_id AS "user_id: UserId", u.email AS "email: EmailAddress",
                  u.first_name AS "first_name: PersonName", u.last_name AS "last_name: PersonName",
                  $3 || a.id::text AS avatar_url, m.role AS "role: AccountRole", m.created_at
           FROM memberships AS m
           JOIN users AS u ON u.id = m.user_id
           LEFT JOIN avatars AS a ON a.user_id = m.user_id
           WHERE m.account_id = $1 AND m.user_id = $2"#,
        account_id.0,
        user_id.0,
        avatar_root,
    )
    .fetch_optional(conn)
    .await
}

pub(in crate::organisations) async fn set_role(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
    role: AccountRole,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE memberships SET role = $3, updated_at = $4 WHERE account_id = $1 AND user_id = $2",
        account_id.0,
        user_id.0,
        role.to_string(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(in crate::organisations) async fn delete(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM memberships WHERE account_id = $1 AND user_id = $2",
        account_id.0,
        user_id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All members, to invalidate what is cached about them.
pub(in crate::organisations) async fn list_ids(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM memberships WHERE account_id = $1"#,
        account_id.0,
    )
    .fetch_all(conn)
    .await
}

/// The owners whose deletion is not pending, oldest member first.
pub(in crate::organisations) async fn list_owners(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT m.user_id AS "user_id: UserId" FROM memberships AS m
           JOIN users AS u ON u.id = m.user_id AND u.erase_at IS NULL AND u.deleted_at IS NULL
           WHERE m.account_id = $1 AND m.role = 'owner'
           ORDER BY m.created_at, m.user_id"#,
        account_id.0,
    )
    .fetch_all(conn)
    .await
}

/// Members whose role has a permission.
pub async fn list_with_permission(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    permission: Permission,
) -> Result<Vec<UserId>, sqlx::Error> {
    let roles = AccountRole::ALL.into_iter();
    let roles = roles.filter(|role| role.permissions().has(permission));
    let roles: Vec<String> = roles.map(|role| role.to_string()).collect();
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM memberships WHERE account_id = $1 AND role = ANY ($2)
           ORDER BY created_at, user_id"#,
        account_id.0,
        &roles,
    )
    .fetch_all(conn)
    .await
}

/// Organisation of a user.
#[derive(Clone, Debug)]
pub struct MemberOf {
    pub account_id: AccountId,
    pub name: String,
    pub role: AccountRole,
}

/// The organisations of a user that are not deleted, the oldest first.
pub async fn list_of_user(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Vec<MemberOf>, sqlx::Error> {
    sqlx::query_as!(
        MemberOf,
        r#"SELECT a.id AS "account_id: AccountId", a.name AS "name!", m.role AS "role: AccountRole"
           FROM memberships AS m JOIN accounts AS a ON a.id = m.account_id
           WHERE m.user_id = $1 AND a.kind = 'organisation' AND a.deleted_at IS NULL
           ORDER BY a.created_at, a.id"#,
        user_id.0,
    )
    .fetch_all(conn)
    .await
}

/// Organisations that a user owns, deleted ones included until they are purged.
pub(in crate::organisations) async fn count_owned(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM memberships WHERE user_id = $1 AND role = 'owner'"#,
        user_id.0,
    )
    .fetch_one(conn)
    .await
}

pub(in crate::organisations) async fn count(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM memberships WHERE account_id = $1"#,
        account_id.0,
    )
    .fetch_one(conn)
    .await
}

/// Organisations with more than `seats` members, and those whose owners were notified that they had too many.
pub(in crate::organisations) async fn list_crowded(
    conn: impl PgExecutor<'_>,
    seats: i64,
) -> Result<Vec<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT a.id AS "id: AccountId" FROM accounts AS a
           WHERE a.kind = 'organisation' AND a.deleted_at IS NULL AND (
               a.seats_exceeded_at IS NOT NULL
               OR (SELECT count(*) FROM memberships AS m WHERE m.account_id = a.id) > $1)"#,
        seats,
    )
    .fetch_all(conn)
    .await
}

/// Ends of the active API keys that a user has created for an account, newest first, at most twenty.
pub(in crate::organisations) async fn list_key_hints(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT hint FROM api_keys
         WHERE account_id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3
         ORDER BY created_at DESC, id DESC LIMIT 20",
        account_id.0,
        user_id.0,
        now,
    )
    .fetch_all(conn)
    .await
}
