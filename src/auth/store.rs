//! Every statement on `sessions`, `refresh_tokens`, `one_time_tokens`, `mfa_challenges` and `email_changes`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{Device, EndReason};
use super::token::TokenHash;
use crate::audit::Origin;
use crate::ids::{SessionId, UserId};
use crate::users::CredentialsVersion;

mod attempts;
mod challenge;
mod email_changes;
mod links;
mod oversight;

pub(super) use attempts::{is_known_client, purge_unverified, take_unlock, unlock_is_recent};
pub(super) use challenge::{NewChallenge, delete_challenge, insert_challenge, take_attempt};
pub(super) use email_changes::{
    NewEmailChange, find_email_change, insert_email_change, purge_email_changes, put_undo_token,
    revoke_keys_since, take_email_change,
};
pub(super) use links::{
    Link, NewLink, Purpose, delete_outstanding, find_address_link, find_reset, put_link,
};
pub(super) use oversight::{count_living, find_standing};

/// A session that begins, with its first refresh token.
pub(super) struct NewSession<'a> {
    pub(super) id: SessionId,
    pub(super) user_id: UserId,
    /// The version of the credentials that were proved.
    pub(super) version: CredentialsVersion,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) token: TokenHash,
    pub(super) token_expires_at: DateTime<Utc>,
    pub(super) origin: &'a Origin,
}

/// Begins a session; false, and no session, when the account's credentials have changed since they
/// were proved, or the account has been disabled or is gone. A change locks the row of the account,
/// which this waits for and then reads again, so that no session begins on what is not true any more.
pub(super) async fn insert_session(
    conn: impl PgExecutor<'_>,
    new: &NewSession<'_>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "WITH owner AS (
             SELECT id FROM users
             WHERE id = $2 AND credentials_version = $9 AND disabled_at IS NULL AND deleted_at IS NULL
             FOR SHARE
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
        new.version.0,
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
