//! Statements on credentials and their version.

use chrono::{DateTime, Utc};
use database::violates;
use email_transport::EmailAddress;
use sqlx::PgExecutor;

use crate::ids::UserId;
use crate::users::Error;
use crate::users::model::{CredentialsChange, CredentialsVersion};

/// Locks the account and advances its credentials version; `None` if the account is gone, or the version is not
/// `proven`. Only for `auth::begin_credentials_change`, which also deletes what the previous version issued.
pub async fn advance_credentials(
    conn: impl PgExecutor<'_>,
    id: UserId,
    proven: Option<CredentialsVersion>,
) -> Result<Option<CredentialsChange>, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE users SET credentials_version = credentials_version + 1
         WHERE id = $1 AND deleted_at IS NULL AND ($2::integer IS NULL OR credentials_version = $2)",
        id.0,
        proven.map(|version| version.0),
    )
    .execute(conn)
    .await?;
    Ok((done.rows_affected() == 1).then(|| CredentialsChange::of(id)))
}

/// Locks an enabled account against changes of its credentials and concurrent calls, and returns the version. For
/// rows whose number per account is limited: each transaction counts what the one before has committed.
pub async fn lock_credentials(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<CredentialsVersion>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT credentials_version AS "version: CredentialsVersion" FROM users
           WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL
           FOR NO KEY UPDATE"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Takes a shared lock on an enabled account at this version of its credentials; false if the version has changed.
pub async fn lock_credentials_shared(
    conn: impl PgExecutor<'_>,
    id: UserId,
    proven: CredentialsVersion,
) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT true AS "is_current!" FROM users
           WHERE id = $1 AND credentials_version = $2 AND disabled_at IS NULL AND deleted_at IS NULL
           FOR SHARE"#,
        id.0,
        proven.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Replaces a hash by a new one of the same password, unless the password has changed since `old` was read.
pub async fn rehash_password(
    conn: impl PgExecutor<'_>,
    id: UserId,
    old: &str,
    new: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 AND deleted_at IS NULL",
        id.0,
        old,
        new
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn set_password_hash(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET password_hash = $2 WHERE id = $1",
        change.user_id().0,
        hash
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sets the password and verifies the address, for a link that was sent there; deletes pending sign-ups. Returns
/// the address, or `None` if the account is disabled.
pub async fn reset_password_hash(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<EmailAddress>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH pending AS (DELETE FROM sign_ups WHERE user_id = $1)
           UPDATE users SET password_hash = $2, email_verified_at = COALESCE(email_verified_at, $3), updated_at = $3
           WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL
           RETURNING email AS "email: EmailAddress""#,
        change.user_id().0,
        hash,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// An unverified account does not reserve its address; a disabled or deleted one does.
pub async fn is_address_taken(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM users
               WHERE email = $1
                 AND (email_verified_at IS NOT NULL OR disabled_at IS NOT NULL OR deleted_at IS NOT NULL)
           ) AS "is_taken!""#,
        email.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// Locks an account together with an unverified one that has `email`, and deletes and returns the latter: a proof
/// of the address takes precedence. One statement locks both in the order of the ids, against deadlocks.
pub async fn claim_address(
    conn: &mut sqlx::PgConnection,
    id: UserId,
    email: &EmailAddress,
) -> Result<Option<UserId>, sqlx::Error> {
    let locked = sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users
           WHERE id = $1
              OR email = $2 AND email_verified_at IS NULL AND disabled_at IS NULL AND deleted_at IS NULL
           ORDER BY id
           FOR UPDATE"#,
        id.0,
        email.as_str(),
    )
    .fetch_all(&mut *conn)
    .await?;
    let Some(other) = locked.into_iter().find(|found| *found != id) else {
        return Ok(None);
    };
    sqlx::query!(
        "DELETE FROM users WHERE id = $1 AND email_verified_at IS NULL",
        other.0
    )
    .execute(conn)
    .await?;
    Ok(Some(other))
}

/// Sets a verified address and returns the old one. [`Error::EmailTaken`] if another account has the address,
/// [`Error::NotFound`] if the account is disabled.
pub async fn change_email(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    email: &EmailAddress,
    now: DateTime<Utc>,
) -> Result<EmailAddress, Error> {
    let old = sqlx::query_scalar!(
        r#"UPDATE users AS u SET email = $2, email_verified_at = $3, updated_at = $3
           FROM users AS before
           WHERE u.id = $1 AND before.id = u.id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
           RETURNING before.email AS "email: EmailAddress""#,
        change.user_id().0,
        email.as_str(),
        now,
    )
    .fetch_optional(conn)
    .await;
    match old {
        Ok(old) => old.ok_or(Error::NotFound),
        Err(error) if violates(&error, "users_email_key") => Err(Error::EmailTaken),
        Err(error) => Err(error.into()),
    }
}
