//! Statements on `sessions`, `session_revocations` and `refresh_tokens`.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sqlx::PgExecutor;

use super::model::EndReason;
use crate::auth::opaque_token::TokenHash;
use crate::ctx::Origin;
use crate::ids::{SessionId, UserId};
use crate::jobs::Expired;
use crate::users::{CredentialsChange, CredentialsVersion};
use crate::web::printable_user_agent;

mod legacy;
mod list;
mod refresh;
mod revocations;

pub(crate) use legacy::{convert, find_token, insert_token, rotate_token};
pub use list::count_sessions;
pub(crate) use list::{end_surplus, is_known_client, list, lock};
pub(crate) use refresh::{ROTATIONS_KEPT, Rotation, TokenState, find_token_state, rotate};
pub(crate) use revocations::{Position, Revocation, list_revocations};

pub(crate) struct NewSession<'a> {
    pub(crate) id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) version: CredentialsVersion,
    pub(crate) expires_at: DateTime<Utc>,
    /// The first token's hash; `None` where it is a row of `refresh_tokens`.
    pub(crate) token: Option<TokenHash>,
    /// When the first token expires, where it is none of `refresh_tokens`.
    pub(crate) idle_expires_at: Option<DateTime<Utc>>,
    pub(crate) origin: &'a Origin,
}

/// Returns the number of other active sessions, up to `counted`; `None`, without a session, if the credentials have
/// changed since they were proved, or the account is disabled or gone. A change locks the account's row, which this
/// waits for and reads again, so that no session begins with void credentials.
pub(crate) async fn insert(
    conn: impl PgExecutor<'_>,
    new: &NewSession<'_>,
    counted: i64,
    now: DateTime<Utc>,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH owner AS (
             SELECT id FROM users
             WHERE id = $2 AND credentials_version = $10 AND disabled_at IS NULL AND deleted_at IS NULL
             FOR SHARE
         ), session AS (
             INSERT INTO sessions (id, user_id, created_at, expires_at, user_agent, ip, token_hash, idle_expires_at)
             SELECT $1, id, $3, $4, $5, $6, $7, $8 FROM owner
             RETURNING user_id
         )
         SELECT (SELECT count(*) FROM (
                     SELECT FROM sessions AS s
                     WHERE s.user_id = session.user_id AND s.ended_at IS NULL AND s.expires_at > $3
                       AND (s.idle_expires_at IS NULL OR s.idle_expires_at > $3)
                     LIMIT $9
                 ) AS others) AS "others!"
         FROM session"#,
        new.id.0,
        new.user_id.0,
        now,
        new.expires_at,
        new.origin.user_agent.as_ref().and_then(printable_user_agent),
        new.origin.ip.map(IpNetwork::from),
        new.token.as_ref().map(|hash| hash.0.as_slice()),
        new.idle_expires_at,
        counted,
        new.version.0,
    )
    .fetch_optional(conn)
    .await
}

/// False when it had ended before.
pub(crate) async fn end(
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

/// Maximum sessions that a revocation lists by id; for more it covers all that began up to the newest of them.
const LISTED_AT_MOST: i64 = 200;

/// Ends all sessions of the account but `kept`; returns those that had not ended before. Their access
/// tokens are refused here once the caller has committed and passed the ids to `revoke_access_tokens`, and by
/// other processes within a second. Sign-ins that wait for a second factor are deleted by the change.
pub async fn end_sessions(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    kept: Option<SessionId>,
    reason: EndReason,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH ended AS (
               UPDATE sessions SET ended_at = $3, end_reason = $4, is_revoked = true
               WHERE user_id = $1 AND id IS DISTINCT FROM $2 AND ended_at IS NULL
               RETURNING id, created_at
           ), revocation AS (
               INSERT INTO session_revocations (user_id, session_ids, begun_until, kept_session_id, ended_at)
               SELECT $1, CASE WHEN count(*) <= $5 THEN array_agg(id) END,
                      CASE WHEN count(*) > $5 THEN max(created_at) END, $2, $3
               FROM ended HAVING count(*) > 0
           )
           SELECT id AS "id: SessionId" FROM ended"#,
        change.user_id().0,
        kept.map(|id| id.0),
        now,
        reason.as_str(),
        LISTED_AT_MOST,
    )
    .fetch_all(conn)
    .await
}

pub(crate) async fn is_active(
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

/// Tokens and sessions that are kept for a while after they have expired or ended.
pub(crate) const EXPIRED: [Expired; 3] = [
    Expired::new("refresh tokens", "refresh_tokens", "expires_at"),
    Expired::new("ended sessions", "sessions", "ended_at"),
    Expired::new("expired sessions", "sessions", "expires_at"),
];

/// The oldest are the first in the order of the primary key.
pub(crate) const REVOCATIONS: Expired =
    Expired::new("session revocations", "session_revocations", "ended_at").ordered_by("xid, id");
