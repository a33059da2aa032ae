//! Statements on `mfa_challenges`.

use chrono::{DateTime, Utc};
use job_queue::{Expired, OwnedRows};
use session_tokens::TokenHash;
use sqlx::PgExecutor;

use crate::auth::sessions::Transport;
use crate::ids::UserId;
use crate::scope;
use crate::users::CredentialsVersion;

pub(crate) struct NewChallenge {
    pub(crate) token: TokenHash,
    pub(crate) user_id: UserId,
    /// The version of the credentials that the password is of.
    pub(crate) version: CredentialsVersion,
    pub(crate) transport: Transport,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) attempts: i32,
}

/// Stores a pending sign-in and deletes expired ones of the account; false when the account's credentials
/// have changed since the password was right.
pub(crate) async fn insert_challenge(
    conn: impl PgExecutor<'_>,
    new: &NewChallenge,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH owner AS (
             SELECT id FROM users
             WHERE id = $2 AND credentials_version = $7 AND disabled_at IS NULL AND deleted_at IS NULL
             FOR SHARE
         ), stale AS (DELETE FROM mfa_challenges WHERE user_id = $2 AND expires_at <= $4)
         INSERT INTO mfa_challenges (token_hash, user_id, credentials_version, transport, created_at, expires_at, attempts_left)
         SELECT $1, id, $7, $3, $4, $5, $6 FROM owner",
        &new.token.0,
        new.user_id.0,
        new.transport.as_str(),
        now,
        new.expires_at,
        new.attempts,
        new.version.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub(crate) struct Challenge {
    pub(crate) user_id: UserId,
    pub(crate) version: CredentialsVersion,
    pub(crate) transport: Transport,
}

/// Takes one of the tries of a pending sign-in, atomically. The account's row is locked first, at the version
/// of its credentials that the sign-in was begun under, until the transaction ends.
pub(crate) async fn take_attempt(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<Challenge>, sqlx::Error> {
    let row = sqlx::query!(
        r#"WITH owner AS (
               SELECT u.id, u.credentials_version FROM users AS u
               WHERE u.id = (SELECT user_id FROM mfa_challenges WHERE token_hash = $1)
                 AND u.disabled_at IS NULL AND u.deleted_at IS NULL
               FOR SHARE
           )
           UPDATE mfa_challenges AS c SET attempts_left = attempts_left - 1
           FROM owner
           WHERE c.token_hash = $1 AND c.user_id = owner.id AND c.credentials_version = owner.credentials_version
             AND c.expires_at > $2 AND c.attempts_left > 0
           RETURNING c.user_id AS "user_id: UserId", c.credentials_version AS "version: CredentialsVersion", c.transport"#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Challenge {
        user_id: row.user_id,
        version: row.version,
        transport: Transport::from_stored(&row.transport),
    }))
}

pub(crate) async fn delete_challenge(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    token: TokenHash,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM mfa_challenges WHERE user_id = $1 AND token_hash = $2",
        owner.0,
        &token.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) const EXPIRED: Expired = Expired::new("challenges", "mfa_challenges", "expires_at")
    .unless_held(scope::LEGAL_HOLDS, "user_id");

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub(crate) const ERASED: [OwnedRows; 1] = [OwnedRows::new("mfa_challenges", "user_id")];
