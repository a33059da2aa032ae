//! Every statement on `users` and `sign_ups`.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use sea_query::{Expr, ExprTrait as _, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder as _;
use sqlx::PgExecutor;

use super::error::Error;
use super::model::{
    Credentials, CredentialsVersion, NewUser, OwnCredentials, PersonName, ProfileChanges, Role,
    User,
};
use crate::ids::UserId;

mod accounts;
mod credentials;
mod erasure;
mod sign_ups;

pub use accounts::{
    count_accounts, count_sign_ups, get_account, is_synthetic, list_accounts, list_admins,
    lock_account_and_admins, set_disabled, set_role,
};
pub use credentials::{
    advance_credentials, change_email, claim_address, is_address_taken, lock_credentials,
    lock_credentials_shared, rehash_password, reset_password_hash, set_password_hash,
};
pub use erasure::{begin_erasure, delete_erased, exists, find_erased_address, set_erase_at};
pub use sign_ups::{
    confirm_sign_up, delete_unverified, delete_verified_sign_ups, list_sign_ups, sign_up,
};

pub(super) async fn get(
    conn: impl PgExecutor<'_>,
    id: UserId,
    avatar_root: &str,
) -> Result<User, Error> {
    let row = sqlx::query_as!(
        User,
        r#"SELECT u.id AS "id: UserId", email AS "email: EmailAddress", first_name AS "first_name: _",
                  last_name AS "last_name: _", $2 || a.id::text AS avatar_url, role AS "role: Role", email_verified_at,
                  created_at, u.updated_at
           FROM users AS u LEFT JOIN avatars AS a ON a.user_id = u.id
           WHERE u.id = $1 AND deleted_at IS NULL"#,
        id.0,
        avatar_root,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or(Error::NotFound)
}

pub(super) async fn update(
    conn: impl PgExecutor<'_>,
    id: UserId,
    changes: &ProfileChanges,
    avatar_root: &str,
    now: DateTime<Utc>,
) -> Result<User, Error> {
    let columns =
        "id, email, first_name, last_name, role, email_verified_at, created_at, updated_at";
    let avatar_url =
        "$1 || (SELECT a.id::text FROM avatars AS a WHERE a.user_id = users.id) AS avatar_url";
    let text = |name: Option<&PersonName>| Expr::value(name.map(PersonName::as_str));
    let (sql, values) = Query::update()
        .table("users")
        .value("updated_at", now) // so that SET is never empty
        .values(changes.fields().map(|(column, name)| (column, text(name))))
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("deleted_at").is_null())
        .returning(Query::returning().exprs([
            Expr::cust(columns),
            Expr::cust_with_values(avatar_url, [avatar_root]),
        ]))
        .build_sqlx(PostgresQueryBuilder);
    let row = sqlx::query_as_with(sqlx::AssertSqlSafe(sql), values)
        .fetch_optional(conn)
        .await?;
    row.ok_or(Error::NotFound)
}

/// `None` if the address has an account.
pub async fn insert(
    conn: impl PgExecutor<'_>,
    new: &NewUser,
    role: Role,
    verified_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"INSERT INTO users (id, email, password_hash, first_name, last_name, role, email_verified_at, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING
           RETURNING id AS "id: UserId""#,
        new.id.0,
        new.email.as_str(),
        new.password_hash,
        new.first_name.as_ref().map(PersonName::as_str),
        new.last_name.as_ref().map(PersonName::as_str),
        role.to_string(),
        verified_at,
        now,
    )
    .fetch_optional(conn)
    .await
}

pub async fn find_credentials(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<Option<Credentials>, sqlx::Error> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT id AS "user_id: UserId", password_hash, email_verified_at IS NOT NULL AS "is_verified!",
                  disabled_at IS NOT NULL AS "is_disabled!", erase_at, credentials_version AS "version: CredentialsVersion"
           FROM users WHERE email = $1 AND deleted_at IS NULL"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await
}

pub async fn find_own_credentials(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<OwnCredentials>, sqlx::Error> {
    sqlx::query_as!(
        OwnCredentials,
        r#"SELECT email AS "email: EmailAddress", password_hash, credentials_version AS "version: CredentialsVersion"
           FROM users WHERE id = $1 AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// The address of an enabled user whose deletion is not pending, if it is verified.
pub async fn find_active_address(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT email AS "email: EmailAddress" FROM users
           WHERE id = $1 AND email_verified_at IS NOT NULL AND disabled_at IS NULL AND erase_at IS NULL AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// The address of a user, if it is verified.
pub async fn find_verified_address(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT email AS "email: EmailAddress" FROM users
           WHERE id = $1 AND email_verified_at IS NOT NULL AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}
