//! The statements on credentials: the version they are bound to, and what changes them.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::UserId;
use crate::infra::db::violates;
use crate::users::Error;
use crate::users::credentials::{CredentialsChange, CredentialsVersion};
use crate::users::model::EmailAddress;

/// Locks the account's row and advances its credentials version; `None` when the account is gone, or
/// the version is not the one that was `proven`. For `auth::begin_credentials_change` alone, which
/// also deletes what the version before was good for.
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

/// Locks an enabled account until the transaction ends, against changes of its credentials and against
/// others that lock it so, and returns the version of its credentials. For what an account may have a
/// number of: of those that race, each counts what the one before has committed.
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

/// Holds an enabled account at this version of its credentials until the transaction ends; false when
/// the version is another by now. A change waits for the transaction, others that hold it so do not.
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

/// The version of the credentials that an address has, and the first one for an address without an
/// account, which takes as long to find out.
pub async fn find_credentials_version(
    conn: impl PgExecutor<'_>,
    email: &EmailAddress,
) -> Result<CredentialsVersion, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT credentials_version AS "version: CredentialsVersion" FROM users
           WHERE email = $1 AND deleted_at IS NULL"#,
        email.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.unwrap_or_default())
}

/// Replaces the stored hash by one of the same password, unless the password was changed since `old`
/// was read.
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

/// Sets another password.
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

/// Sets a password whatever it was, by a link that was sent to the address, which is thereby verified;
/// returns the address, or nothing when the account is disabled. Sign-ups that wait for the address to
/// be confirmed are deleted.
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

/// Returns whether an address belongs to an account that has proved it, or that an administrator has disabled.
/// An account that nobody confirmed does not keep an address from somebody who proves it.
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

/// Locks an account together with the unconfirmed one that has `email`, if there is one, which is
/// deleted then: proof of an address beats a row without proof. Returns the deleted account. One
/// statement locks both in the order of their ids, as `lock_account_and_admins` does.
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

/// Gives an enabled account another address, which its owner has proved; returns the old one.
///
/// # Errors
/// [`Error::EmailTaken`] when the address belongs to another account by now, [`Error::NotFound`] when
/// the account is disabled.
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
