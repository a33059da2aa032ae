//! Refresh token rotation, in the session's row.

use chrono::{DateTime, Utc};
use session_tokens::{ROTATIONS_KEPT, TokenHash};
use sqlx::PgExecutor;

use crate::ctx::Principal;
use crate::ids::{SessionId, UserId};

pub(crate) struct Rotation {
    pub(crate) session: SessionId,
    /// The generation and hash in the row.
    pub(crate) from: (i32, TokenHash),
    /// Those that replace them.
    pub(crate) to: (i32, TokenHash),
    pub(crate) now: DateTime<Utc>,
    pub(crate) idle_expires_at: DateTime<Utc>,
    /// Rotations until then are past the grace period, and dropped.
    pub(crate) grace_since: DateTime<Utc>,
}

#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) user_id: UserId,
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) must_accept: bool,
}

/// Atomic: of concurrent calls exactly one returns `Some`.
pub(crate) async fn rotate(
    conn: impl PgExecutor<'_>,
    rotation: &Rotation,
) -> Result<Option<Rotated>, sqlx::Error> {
    sqlx::query_as!(
        Rotated,
        r#"UPDATE sessions AS s
           SET generation = $4, token_hash = $5, idle_expires_at = LEAST(s.expires_at, $7),
               rotations = CASE WHEN $4 = $2 + 1 AND s.rotations[1] > $8
                   THEN (array_prepend($6, s.rotations))[1:$9] ELSE ARRAY[$6] END
           FROM users AS u
           WHERE s.id = $1 AND s.generation = $2 AND s.token_hash = $3
             AND s.ended_at IS NULL AND s.expires_at > $6 AND s.idle_expires_at > $6
             AND u.id = s.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
           RETURNING s.user_id AS "user_id: UserId", s.idle_expires_at AS "expires_at!", s.must_accept"#,
        rotation.session.0,
        rotation.from.0,
        &rotation.from.1.0,
        rotation.to.0,
        &rotation.to.1.0,
        rotation.now,
        rotation.idle_expires_at,
        rotation.grace_since,
        i32::try_from(ROTATIONS_KEPT).unwrap_or(i32::MAX),
    )
    .fetch_optional(conn)
    .await
}

/// State of a session that decides about a refresh token other than the current one.
#[derive(Debug)]
pub(crate) struct TokenState {
    pub(crate) who: Principal,
    pub(crate) generation: i32,
    pub(crate) hash: TokenHash,
    /// When the current token expires.
    pub(crate) expires_at: DateTime<Utc>,
    /// When the generations before were rotated away, the newest first.
    pub(crate) rotations: Vec<DateTime<Utc>>,
    pub(crate) must_accept: bool,
}

/// `None` unless the session is active.
pub(crate) async fn find_token_state(
    conn: impl PgExecutor<'_>,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<TokenState>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT s.user_id AS "user_id: UserId", s.generation, s.token_hash AS "token_hash!",
                  COALESCE(s.idle_expires_at, s.expires_at) AS "expires_at!", s.rotations, s.must_accept
           FROM sessions AS s
           JOIN users AS u ON u.id = s.user_id AND u.disabled_at IS NULL AND u.deleted_at IS NULL
           WHERE s.id = $1 AND s.token_hash IS NOT NULL AND s.ended_at IS NULL AND s.expires_at > $2"#,
        session.0,
        now,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| {
        Some(TokenState {
            who: Principal {
                user_id: row.user_id,
                session_id: session,
            },
            generation: row.generation,
            hash: TokenHash(row.token_hash.try_into().ok()?),
            expires_at: row.expires_at,
            rotations: row.rotations,
            must_accept: row.must_accept,
        })
    }))
}
