//! Statements on `refresh_tokens`, of the previous release. The table, this file and
//! `LEGACY_REFRESH_TOKENS` go with the next release.

use chrono::{DateTime, Utc};
use session_tokens::TokenHash;
use sqlx::PgExecutor;

use super::refresh::Rotated;
use crate::ctx::Principal;
use crate::ids::{SessionId, UserId};

pub(crate) async fn insert_token(
    conn: impl PgExecutor<'_>,
    session: SessionId,
    token: TokenHash,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)",
        &token.0,
        session.0,
        now,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses up a legacy token and starts the generations of its session. Atomic: of concurrent calls exactly one returns
/// `Some`.
pub(crate) async fn convert(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    session: SessionId,
    hash: TokenHash,
    now: DateTime<Utc>,
    idle_expires_at: DateTime<Utc>,
) -> Result<Option<Rotated>, sqlx::Error> {
    sqlx::query_as!(
        Rotated,
        r#"WITH used AS (
               UPDATE refresh_tokens SET rotated_at = $4
               WHERE token_hash = $1 AND session_id = $2 AND rotated_at IS NULL AND expires_at > $4
               RETURNING session_id
           )
           UPDATE sessions AS s
           SET generation = 1, token_hash = $3, idle_expires_at = LEAST(s.expires_at, $5), rotations = ARRAY[$4]
           FROM used, users AS u
           WHERE s.id = used.session_id AND s.token_hash IS NULL AND s.ended_at IS NULL AND s.expires_at > $4
             AND u.id = s.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
           RETURNING s.user_id AS "user_id: UserId", s.idle_expires_at AS "expires_at!", s.must_accept"#,
        &token.0,
        session.0,
        &hash.0,
        now,
        idle_expires_at,
    )
    .fetch_optional(conn)
    .await
}

/// Atomic: of concurrent calls exactly one returns `Some`.
pub(crate) async fn rotate_token(
    conn: impl PgExecutor<'_>,
    parent: TokenHash,
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
               RETURNING s.id AS session_id, s.user_id, LEAST(s.expires_at, $4) AS expires_at, s.must_accept
           ), child AS (
               INSERT INTO refresh_tokens (token_hash, session_id, issued_at, expires_at)
               SELECT $2, session_id, $3, expires_at FROM parent
           )
           SELECT user_id AS "user_id: UserId", expires_at AS "expires_at!", must_accept FROM parent"#,
        &parent.0,
        &child.0,
        now,
        child_expires_at,
    )
    .fetch_optional(conn)
    .await
}

#[derive(Debug)]
pub(crate) struct StoredToken {
    session_id: SessionId,
    user_id: UserId,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) rotated_at: Option<DateTime<Utc>>,
    pub(crate) must_accept: bool,
}

impl StoredToken {
    pub(crate) fn principal(&self) -> Principal {
        Principal {
            user_id: self.user_id,
            session_id: self.session_id,
        }
    }
}

/// `None` unless the session is active.
pub(crate) async fn find_token(
    conn: impl PgExecutor<'_>,
    token: TokenHash,
    now: DateTime<Utc>,
) -> Result<Option<StoredToken>, sqlx::Error> {
    sqlx::query_as!(
        StoredToken,
        r#"SELECT s.id AS "session_id: SessionId", s.user_id AS "user_id: UserId", t.expires_at, t.rotated_at, s.must_accept
           FROM refresh_tokens AS t
           JOIN sessions AS s ON s.id = t.session_id AND s.ended_at IS NULL AND s.expires_at > $2
           JOIN users AS u ON u.id = s.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
           WHERE t.token_hash = $1"#,
        &token.0,
        now,
    )
    .fetch_optional(conn)
    .await
}
