//! Every statement on `users`.

use chrono::{DateTime, Utc};
use sea_query::{Expr, ExprTrait as _, Iden, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder as _;
use sqlx::PgExecutor;

use super::error::Error;
use super::model::{
    Credentials, EmailAddress, NewUser, OwnCredentials, ProfileChanges, Role, SignUp, User,
};
use crate::ids::UserId;
use crate::infra::db::violates;

mod accounts;

pub use accounts::{
    count_accounts, count_sign_ups, get_account, list_accounts, lock_account,
    lock_account_and_admins, set_disabled, set_role,
};

#[derive(Clone, Copy, Iden)]
enum Users {
    Table,
    Id,
    Email,
    FirstName,
    LastName,
    Role,
    EmailVerifiedAt,
    DisabledAt,
    DisabledReason,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
}

impl User {
    const COLUMNS: [Users; 8] = [
        Users::Id,
        Users::Email,
        Users::FirstName,
        Users::LastName,
        Users::Role,
        Users::EmailVerifiedAt,
        Users::CreatedAt,
        Users::UpdatedAt,
    ];
}

/// The account with this id.
pub(super) async fn get(conn: impl PgExecutor<'_>, id: UserId) -> Result<User, Error> {
    let row = sqlx::query_as!(
        User,
        r#"SELECT id AS "id: UserId", email AS "email: EmailAddress", first_name AS "first_name: _",
                  last_name AS "last_name: _", role AS "role: Role", email_verified_at, created_at, updated_at
           FROM users WHERE id = $1 AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or(Error::NotFound)
}

/// Writes the fields that are given and returns the row as it now stands.
pub(super) async fn update(
    conn: impl PgExecutor<'_>,
    id: UserId,
    changes: &ProfileChanges,
    now: DateTime<Utc>,
) -> Result<User, Error> {
    let text = |name: &Option<_>| Expr::value(name.as_ref().map(super::PersonName::as_str));
    let (sql, values) = Query::update()
        .table(Users::Table)
        .value(Users::UpdatedAt, now) // so that SET is never empty
        .values(
            changes
                .first_name
                .iter()
                .map(|name| (Users::FirstName, text(name))),
        )
        .values(
            changes
                .last_name
                .iter()
                .map(|name| (Users::LastName, text(name))),
        )
        .and_where(Expr::col(Users::Id).eq(id))
        .and_where(Expr::col(Users::DeletedAt).is_null())
        .returning(Query::returning().columns(User::COLUMNS))
        .build_sqlx(PostgresQueryBuilder);
    let row = sqlx::query_as_with(sqlx::AssertSqlSafe(sql), values)
        .fetch_optional(conn)
        .await?;
    row.ok_or(Error::NotFound)
}

/// Signs somebody up. A new address and one that was never verified become a pending account with
/// these credentials; the row of a verified one is not touched.
pub async fn sign_up(
    conn: impl PgExecutor<'_>,
    new: &NewUser,
    now: DateTime<Utc>,
) -> Result<SignUp, sqlx::Error> {
    // The update of a verified account rewrites what is there, so that the row is locked and
    // returned in either case, at the same cost.
    let row = sqlx::query!(
        r#"INSERT INTO users AS u (id, email, password_hash, first_name, last_name, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $5, $6, $6)
           ON CONFLICT ON CONSTRAINT users_email_key DO UPDATE SET
               password_hash = CASE WHEN u.email_verified_at IS NULL THEN excluded.password_hash ELSE u.password_hash END,
               first_name = CASE WHEN u.email_verified_at IS NULL THEN excluded.first_name ELSE u.first_name END,
               last_name = CASE WHEN u.email_verified_at IS NULL THEN excluded.last_name ELSE u.last_name END,
               updated_at = CASE WHEN u.email_verified_at IS NULL THEN excluded.updated_at ELSE u.updated_at END
           RETURNING id AS "id: UserId", email_verified_at IS NOT NULL AS "is_verified!""#,
        new.id.0,
        new.email.as_str(),
        new.password_hash,
        new.first_name.as_ref().map(super::PersonName::as_str),
        new.last_name.as_ref().map(super::PersonName::as_str),
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(if row.is_verified {
        SignUp::Known(row.id)
    } else {
        SignUp::Pending(row.id)
    })
}

/// Makes an account; answers nothing, and changes nothing, when the address has one.
pub async fn create(
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
        new.first_name.as_ref().map(super::PersonName::as_str),
        new.last_name.as_ref().map(super::PersonName::as_str),
        role.as_str(),
        verified_at,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// What a sign-in with this address is checked against.
pub async fn find_credentials(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<Option<Credentials>, sqlx::Error> {
    sqlx::query_as!(
        Credentials,
        r#"SELECT id AS "user_id: UserId", password_hash, email_verified_at IS NOT NULL AS "is_verified!",
                  disabled_at IS NOT NULL AS "is_disabled!"
           FROM users WHERE email = $1 AND deleted_at IS NULL"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// The account of this address, if it waits to be verified.
pub async fn find_unverified(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users
           WHERE email = $1 AND email_verified_at IS NULL AND deleted_at IS NULL"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// Notes that the address is its owner's; answers false when that was known, or there is no account.
pub async fn mark_verified(
    conn: impl PgExecutor<'_>,
    id: UserId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE users SET email_verified_at = $2, updated_at = $2
         WHERE id = $1 AND email_verified_at IS NULL AND deleted_at IS NULL",
        id.0,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the stored hash, unless the password was changed since `old` was read; answers whether
/// it was replaced.
pub async fn set_password_hash(
    conn: impl PgExecutor<'_>,
    id: UserId,
    old: &str,
    new: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 AND deleted_at IS NULL",
        id.0,
        old,
        new
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets a password whatever it was, for whoever followed a link to the address, which is thereby
/// verified; answers the address, or nothing when there is no such account.
pub async fn reset_password_hash(
    conn: impl PgExecutor<'_>,
    id: UserId,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"UPDATE users SET password_hash = $2, email_verified_at = COALESCE(email_verified_at, $3), updated_at = $3
           WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL
           RETURNING email AS "email: EmailAddress""#,
        id.0,
        hash,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Gives the account another address, which its owner has confirmed; answers the old one, or nothing
/// when there is no such account.
///
/// # Errors
/// [`Error::EmailTaken`] when the address has come to belong to another account.
pub async fn change_email(
    conn: impl PgExecutor<'_>,
    id: UserId,
    email: &EmailAddress,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE users SET email = $2, email_verified_at = $3, updated_at = $3
         WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL",
        id.0,
        email.as_str(),
        now,
    )
    .execute(conn)
    .await;
    match done {
        Ok(done) => Ok(done.rows_affected() == 1),
        Err(error) if violates(&error, "users_email_key") => Err(Error::EmailTaken),
        Err(error) => Err(error.into()),
    }
}

/// What this account's owner is checked against when asked for the password again.
pub async fn find_own_credentials(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<OwnCredentials>, sqlx::Error> {
    sqlx::query_as!(
        OwnCredentials,
        r#"SELECT email AS "email: EmailAddress", password_hash FROM users WHERE id = $1 AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Holds the account until the transaction ends, against others that hold it so; answers false when
/// there is none that is open. For what an account may have a number of: of those that race, each
/// counts what the one before has committed.
pub async fn lock(conn: impl PgExecutor<'_>, id: UserId) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users
           WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL
           FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// The account of this address, verified or not, unless an administrator has shut it.
pub async fn find_enabled(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users
           WHERE email = $1 AND disabled_at IS NULL AND deleted_at IS NULL"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// The account of this address, verified or not.
pub async fn find_by_email(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users WHERE email = $1 AND deleted_at IS NULL"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await
}
