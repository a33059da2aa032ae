//! Every statement on `sessions`, `refresh_tokens` and `one_time_tokens`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{Device, EndReason};
use super::token::TokenHash;
use crate::audit::Origin;
use crate::ids::{SessionId, UserId};
use crate::users::EmailAddress;

mod attempts;
mod challenge;
mod oversight;

pub(super) use attempts::{is_known_client, purge_unverified, take_unlock, unlock_is_recent};
pub(super) use challenge::{NewChallenge, delete_challenge, insert_challenge, take_attempt};
pub(super) use oversight::{count_living, delete_links, find_standing};

/// A session that begins, with its first refresh token.
pub(super) struct NewSession<'a> {
    pub(super) id: SessionId,
    pub(super) user_id: UserId,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) token: TokenHash,
    pub(super) token_expires_at: DateTime<Utc>,
    pub(super) origin: &'a Origin,
}

/// Begins a session; answers false, and begins none, when the account has been shut or is gone. An
/// account that is being shut holds its row meanwhile, so that no session slips in.
pub(super) async fn insert_session(
    conn: impl PgExecutor<'_>,
    new: &NewSession<'_>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH owner AS (
             SELECT id FROM users WHERE id = $2 AND disabled_at IS NULL AND deleted_at IS NULL FOR KEY SHARE
         ), session AS (
             INSERT INTO sessions (id, user_id, created_at, expires_at, user_agent, ip)
             SELECT $1, id, $3, $4, $5, $6 FROM owner
             RETURNING id
         )
         INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at)
         SELECT $7, id, $3, $8 FROM session",
        new.id.0,
        new.user_id.0,
        now,
        new.expires_at,
        new.origin.user_agent.as_deref(),
        new.origin.ip.map(IpNetwork::from),
        &new.token.0,
        new.token_expires_at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A refresh token's session, when the token has just been replaced by its successor.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) session_id: SessionId,
    pub(super) user_id: UserId,
    pub(super) expires_at: DateTime<Utc>,
}

/// Replaces a living refresh token by its successor, in one statement and one commit. Of any number
/// that race, one gets an answer; the others wait for its commit and get none. A token of another
/// session than `of` is left alone.
pub(super) async fn rotate(
    conn: impl PgExecutor<'_>,
    parent: TokenHash,
    of: Option<SessionId>,
    child: TokenHash,
    now: DateTime<Utc>,
    child_expires_at: DateTime<Utc>,
) -> Result<Option<Rotated>, sqlx::Error> {
    sqlx::query_as!(
        Rotated,
        r#"WITH parent AS (
               UPDATE refresh_tokens AS t SET rotated_at = $3
               FROM sessions AS s
               JOIN users AS u ON u.id = s.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
               WHERE t.token_hash = $1 AND t.rotated_at IS NULL AND t.expires_at > $3
                 AND s.id = t.session_id AND s.ended_at IS NULL AND s.expires_at > $3
                 AND ($5::uuid IS NULL OR s.id = $5)
               RETURNING s.id AS session_id, s.user_id, LEAST(s.expires_at, $4) AS expires_at
           ), child AS (
               INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at)
               SELECT $2, session_id, $3, expires_at FROM parent
           )
           SELECT session_id AS "session_id: SessionId", user_id AS "user_id: UserId", expires_at AS "expires_at!"
           FROM parent"#,
        &parent.0,
        &child.0,
        now,
        child_expires_at,
        of.map(|id| id.0),
    )
    .fetch_optional(conn)
    .await
}

/// A refresh token as it is stored, with what of its session decides what it is good for.
#[derive(Debug)]
pub(super) struct StoredToken {
    pub(super) session_id: SessionId,
    pub(super) user_id: UserId,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) rotated_at: Option<DateTime<Utc>>,
    /// The session is neither ended nor expired, and its owner is still there.
    pub(super) session_lives: bool,
}

/// The refresh token with this hash.
pub(super) async fn find_token(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<StoredToken>, sqlx::Error> {
    sqlx::query_as!(
        StoredToken,
        r#"SELECT s.id AS "session_id: SessionId", s.user_id AS "user_id: UserId", t.expires_at, t.rotated_at,
                  (s.ended_at IS NULL AND s.expires_at > $2 AND u.disabled_at IS NULL AND u.deleted_at IS NULL)
                      AS "session_lives!"
           FROM refresh_tokens AS t
           JOIN sessions AS s ON s.id = t.session_id
           JOIN users AS u ON u.id = s.user_id
           WHERE t.token_hash = $1"#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Ends one session of this owner; answers false when it had ended before.
pub(super) async fn end_session(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    id: SessionId,
    reason: EndReason,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE sessions SET ended_at = $3, end_reason = $4 WHERE user_id = $1 AND id = $2 AND ended_at IS NULL",
        owner.0,
        id.0,
        now,
        reason.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all sessions of this owner but `kept`, and the sign-ins that wait to become one; answers
/// those that had not ended before.
pub(super) async fn end_sessions(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    kept: Option<SessionId>,
    reason: EndReason,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH waiting AS (DELETE FROM mfa_challenges WHERE user_id = $1)
           UPDATE sessions SET ended_at = $3, end_reason = $4
           WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND ended_at IS NULL
           RETURNING id AS "id: SessionId""#,
        owner.0,
        kept.map(|id| id.0),
        now,
        reason.as_str(),
    )
    .fetch_all(conn)
    .await
}

/// The living sessions of this owner, the last used first.
pub(super) async fn list_sessions(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    current: SessionId,
    now: DateTime<Utc>,
) -> Result<Vec<Device>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT s.id AS "id: SessionId", s.user_agent, s.ip, s.created_at, s.expires_at,
                  COALESCE(t.issued_at, s.created_at) AS "last_used_at!"
           FROM sessions AS s
           LEFT JOIN LATERAL (
               SELECT issued_at FROM refresh_tokens WHERE session_id = s.id ORDER BY issued_at DESC LIMIT 1
           ) AS t ON true
           WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2
           ORDER BY "last_used_at!" DESC, s.id DESC
           LIMIT 200"#,
        owner.0,
        now,
    )
    .fetch_all(conn)
    .await?;
    let device = rows.into_iter().map(|row| Device {
        id: row.id,
        is_current: row.id == current,
        user_agent: row.user_agent,
        ip: row.ip.map(|network| network.ip()),
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        expires_at: row.expires_at,
    });
    Ok(device.collect())
}

/// The sessions that were ended after `since`, and when.
pub(super) async fn list_ended(
    conn: impl PgExecutor<'_>,
    since: DateTime<Utc>,
) -> Result<Vec<(Uuid, DateTime<Utc>)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id, ended_at AS "ended_at!" FROM sessions WHERE ended_at > $1 AND ended_at IS NOT NULL"#,
        since
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.ended_at)).collect())
}

/// Whether this owner's session has neither ended nor expired.
pub(super) async fn session_lives(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM sessions WHERE user_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > $3
           ) AS "lives!""#,
        owner.0,
        id.0,
        now,
    )
    .fetch_one(conn)
    .await
}

/// What a link is good for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// Shows that the account's address is its owner's.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Lets the owner try to sign in again.
    Unlock,
    /// Shows that this new address is the owner's as well.
    ChangeEmail(EmailAddress),
}

impl Purpose {
    fn as_str(&self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::Unlock => "unlock",
            Self::ChangeEmail(_) => "change_email",
        }
    }
}

/// Makes this the one link of the account that is good for this.
pub(super) async fn put_link(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    purpose: &Purpose,
    token: TokenHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let new_email = match purpose {
        Purpose::ChangeEmail(email) => Some(email.as_str()),
        Purpose::VerifyEmail | Purpose::ResetPassword | Purpose::Unlock => None,
    };
    sqlx::query!(
        "INSERT INTO one_time_tokens (user_id, purpose, token_hash, created_at, expires_at, new_email)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT ON CONSTRAINT one_time_tokens_pkey
         DO UPDATE SET token_hash = excluded.token_hash, created_at = excluded.created_at,
                       expires_at = excluded.expires_at, new_email = excluded.new_email",
        user_id.0,
        purpose.as_str(),
        &token.0,
        now,
        expires_at,
        new_email,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A link that shows an address to be its owner's, used up.
pub(super) struct ProvenAddress {
    pub(super) user_id: UserId,
    /// The new address, where the link was to change it.
    pub(super) new_email: Option<EmailAddress>,
}

/// Uses up a link that shows an address to be its owner's; of any number that race, one gets it.
pub(super) async fn take_address_link(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<ProvenAddress>, sqlx::Error> {
    sqlx::query_as!(
        ProvenAddress,
        r#"DELETE FROM one_time_tokens
           WHERE token_hash = $1 AND purpose IN ('verify_email', 'change_email') AND expires_at > $2
           RETURNING user_id AS "user_id: UserId", new_email AS "new_email: EmailAddress""#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Uses up a link that sets a new password; of any number that race, one gets the account.
pub(super) async fn take_reset(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"DELETE FROM one_time_tokens
           WHERE token_hash = $1 AND purpose = 'reset_password' AND expires_at > $2
           RETURNING user_id AS "user_id: UserId""#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// The account whose password this link sets, if it is good.
pub(super) async fn find_reset(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM one_time_tokens
           WHERE token_hash = $1 AND purpose = 'reset_password' AND expires_at > $2"#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}

/// Deletes links, tokens and sessions that have been good for nothing since `before`.
pub(super) async fn purge(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH links AS (DELETE FROM one_time_tokens WHERE expires_at < $1),
              waiting AS (DELETE FROM mfa_challenges WHERE expires_at < $1),
              tokens AS (DELETE FROM refresh_tokens WHERE expires_at < $1)
         DELETE FROM sessions WHERE expires_at < $1 OR ended_at < $1",
        before,
    )
    .execute(conn)
    .await?;
    Ok(())
}
