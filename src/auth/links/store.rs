//! Every statement on `one_time_tokens` but those about unlocking.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::auth::token::TokenHash;
use crate::ids::UserId;
use crate::users::{CredentialsVersion, EmailAddress};

/// Purpose of a link.
#[derive(Clone, Debug)]
pub(in crate::auth) enum Purpose {
    /// Shows that the account's address is its owner's.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Clears the waits of failed sign-ins.
    Unlock,
    /// Shows that this new address, asked for at this time, is the owner's as well.
    ChangeEmail(EmailAddress, DateTime<Utc>),
}

impl Purpose {
    fn as_str(&self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::Unlock => "unlock",
            Self::ChangeEmail(..) => "change_email",
        }
    }
}

/// A link to store.
pub(in crate::auth) struct NewLink<'a> {
    pub(in crate::auth) user_id: UserId,
    /// The version of the account's credentials that the link was asked for under.
    pub(in crate::auth) version: CredentialsVersion,
    pub(in crate::auth) purpose: &'a Purpose,
    pub(in crate::auth) token: TokenHash,
    pub(in crate::auth) expires_at: DateTime<Utc>,
}

/// Makes this the one link of the account that is good for its purpose; false, and no link, when the
/// account's credentials have changed since it was asked for.
pub(in crate::auth) async fn put_link(
    conn: impl PgExecutor<'_>,
    link: &NewLink<'_>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let (new_email, created_at) = match link.purpose {
        Purpose::ChangeEmail(email, requested_at) => (Some(email.as_str()), *requested_at),
        Purpose::VerifyEmail | Purpose::ResetPassword | Purpose::Unlock => (None, now),
    };
    let done = sqlx::query!(
        "WITH owner AS (
             SELECT id FROM users WHERE id = $1 AND credentials_version = $2 AND deleted_at IS NULL FOR SHARE
         )
         INSERT INTO one_time_tokens (user_id, credentials_version, purpose, token_hash, created_at, expires_at, new_email)
         SELECT id, $2, $3, $4, $5, $6, $7 FROM owner
         ON CONFLICT ON CONSTRAINT one_time_tokens_pkey
         DO UPDATE SET credentials_version = excluded.credentials_version, token_hash = excluded.token_hash,
                       created_at = excluded.created_at, expires_at = excluded.expires_at,
                       new_email = excluded.new_email",
        link.user_id.0,
        link.version.0,
        link.purpose.as_str(),
        &link.token.0,
        created_at,
        link.expires_at,
        new_email,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A link that somebody has followed. It is used up by beginning a change of the credentials at its
/// version, which of any number that race one does.
pub(in crate::auth) struct Link {
    pub(in crate::auth) user_id: UserId,
    pub(in crate::auth) version: CredentialsVersion,
    /// When it was made; when the change was asked for, where it changes the address.
    pub(in crate::auth) created_at: DateTime<Utc>,
    /// The new address, where it changes that.
    pub(in crate::auth) new_email: Option<EmailAddress>,
}

/// The link that shows an address to be its owner's, if it is good.
pub(in crate::auth) async fn find_address_link(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<Link>, sqlx::Error> {
    find_link(conn, token, &["verify_email", "change_email"], now).await
}

/// The link that sets a new password, if it is good.
pub(in crate::auth) async fn find_reset(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<Link>, sqlx::Error> {
    find_link(conn, token, &["reset_password"], now).await
}

async fn find_link(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    purposes: &[&str],
    now: DateTime<Utc>,
) -> Result<Option<Link>, sqlx::Error> {
    sqlx::query_as!(
        Link,
        r#"SELECT t.user_id AS "user_id: UserId", t.credentials_version AS "version: CredentialsVersion",
                  t.created_at, t.new_email AS "new_email: EmailAddress"
           FROM one_time_tokens AS t
           JOIN users AS u ON u.id = t.user_id AND u.credentials_version = t.credentials_version
           WHERE t.token_hash = $1 AND t.purpose = ANY ($2::text[]) AND t.expires_at > $3"#,
        &token.0,
        purposes as &[&str],
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Deletes the links that were mailed to this account's owner, and the sign-ins that wait for a second
/// factor.
pub(in crate::auth) async fn delete_outstanding(
    conn: impl PgExecutor<'_>,
    owner: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH waiting AS (DELETE FROM mfa_challenges WHERE user_id = $1)
         DELETE FROM one_time_tokens WHERE user_id = $1",
        owner.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
