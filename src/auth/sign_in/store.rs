//! Every statement on `mfa_challenges`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::super::model::Transport;
use super::super::token::TokenHash;
use crate::ids::UserId;
use crate::users::CredentialsVersion;

/// A sign-in that is to wait for its second factor.
pub(in crate::auth) struct NewChallenge {
    pub(in crate::auth) token: TokenHash,
    pub(in crate::auth) user_id: UserId,
    /// The version of the credentials that the password is of.
    pub(in crate::auth) version: CredentialsVersion,
    pub(in crate::auth) transport: Transport,
    pub(in crate::auth) expires_at: DateTime<Utc>,
    pub(in crate::auth) attempts: i32,
}

/// Stores a sign-in that waits; false, and none, when the account's credentials have changed since the
/// password was right. Those of the same account that expired are deleted.
pub(in crate::auth) async fn insert_challenge(
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

/// A sign-in that waits.
pub(in crate::auth) struct Challenge {
    pub(in crate::auth) user_id: UserId,
    pub(in crate::auth) version: CredentialsVersion,
    pub(in crate::auth) transport: Transport,
}

/// Takes one of the attempts that a waiting sign-in has; of any number that race, as many get one
/// as there are. The account is held before the sign-in, at the version of its credentials that the
/// sign-in was begun under, until the transaction ends.
pub(in crate::auth) async fn take_attempt(
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

/// Forgets a sign-in that has come to its end.
pub(in crate::auth) async fn delete_challenge(
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
