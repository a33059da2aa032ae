//! Statements on `sessions`, `session_revocations` and `refresh_tokens`.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use http_toolkit::{PageSize, TimeCursor, printable_user_agent};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use job_queue::{Expired, OwnedRows};
use session_tokens::TokenHash;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{EndReason, SessionInfo};
use crate::ctx::{Origin, Principal};
use crate::ids::{SessionId, UserId};
use crate::scope;
use crate::users::{CredentialsChange, CredentialsVersion};

mod legacy;
mod refresh;
mod revocations;

pub(crate) use legacy::{convert, find_token, insert_token, rotate_token};
pub(crate) use refresh::{Rotation, TokenState, find_token_state, rotate};
pub(crate) use revocations::{end_next, list_revocations, revoke_all};

pub(crate) struct NewSession<'a> {
    pub(crate) who: Principal,
    pub(crate) version: CredentialsVersion,
    pub(crate) expires_at: DateTime<Utc>,
    /// The first token's hash and expiry; `None` where it is a row of `refresh_tokens`.
    pub(crate) token: Option<(TokenHash, DateTime<Utc>)>,
    pub(crate) origin: &'a Origin,
    /// Kinds and versions of the documents that the user must have accepted.
    pub(crate) documents: (Vec<String>, Vec<String>),
}

#[derive(Debug)]
pub(crate) struct Begun {
    /// Other active sessions of the account, up to the number that was asked for.
    pub(crate) others: i64,
    /// True if a document is yet to be accepted.
    pub(crate) must_accept: bool,
}

/// Counts other active sessions up to `counted`; `None`, without a session, if the credentials have changed since they were proved, or the account is disabled or gone. A change locks the account's row, which this
/// waits for and reads again, so that no session begins with void credentials.
pub(crate) async fn insert(
    conn: impl PgExecutor<'_>,
    new: &NewSession<'_>,
    counted: i64,
    now: DateTime<Utc>,
) -> Result<Option<Begun>, sqlx::Error> {
    sqlx::query_as!(
        Begun,
        r#"WITH owner AS (
             SELECT id FROM users
             WHERE id = $2 AND credentials_version = $10 AND disabled_at IS NULL AND deleted_at IS NULL
             FOR SHARE
         ), session AS (
             INSERT INTO sessions (id, user_id, created_at, expires_at, user_agent, ip, token_hash, idle_expires_at,
                                   must_accept)
             SELECT $1, id, $3, $4, $5, $6, $7, $8, EXISTS (
                        SELECT FROM unnest($11::text[], $12::text[]) AS required (kind, version)
                        WHERE NOT EXISTS (
                            SELECT FROM consents AS c
                            WHERE c.user_id = owner.id AND c.kind = required.kind AND c.version = required.version
                        )
                    )
             FROM owner
             RETURNING user_id, must_accept
         )
         SELECT (SELECT count(*) FROM (
                     SELECT FROM sessions AS s
                     WHERE s.user_id = session.user_id AND s.ended_at IS NULL AND s.expires_at > $3
                       AND (s.idle_expires_at IS NULL OR s.idle_expires_at > $3)
                     LIMIT $9
                 ) AS others) AS "others!", must_accept
         FROM session"#,
        new.who.session_id.0,
        new.who.user_id.0,
        now,
        new.expires_at,
        new.origin.user_agent.as_ref().and_then(printable_user_agent),
        new.origin.ip.map(IpNetwork::from),
        new.token.as_ref().map(|(hash, _)| hash.0.as_slice()),
        new.token.map(|(_, expires_at)| expires_at),
        counted,
        new.version.0,
        &new.documents.0,
        &new.documents.1,
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

/// Last used first.
pub(crate) async fn list(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    current: SessionId,
    after: Option<TimeCursor>,
    limit: PageSize,
    now: DateTime<Utc>,
) -> Result<Vec<SessionInfo>, sqlx::Error> {
    sqlx::query_as!(
        SessionInfo,
        r#"SELECT id AS "id: SessionId", id = $6 AS "is_current!", user_agent, ip AS "ip: IpAddr",
                  created_at, last_used_at AS "last_used_at!", expires_at
           FROM (
               SELECT s.id, s.user_agent, s.ip, s.created_at, s.expires_at,
                      GREATEST(s.created_at, s.rotations[1],
                          CASE WHEN s.token_hash IS NULL
                              THEN (SELECT max(issued_at) FROM refresh_tokens WHERE session_id = s.id) END) AS last_used_at
               FROM sessions AS s
               WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2
                 AND (s.idle_expires_at IS NULL OR s.idle_expires_at > $2)
           ) AS living
           WHERE $3::timestamptz IS NULL OR (last_used_at, id) < ($3, $4)
           ORDER BY last_used_at DESC, id DESC
           LIMIT $5"#,
        owner.0,
        now,
        after.map(|after| after.0),
        after.map(|after| after.1),
        limit.one_more(),
        current.0,
    )
    .fetch_all(conn)
    .await
}

/// Serializes sign-ins of an account that count its sessions.
pub(crate) async fn lock(conn: impl PgExecutor<'_>, owner: UserId) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended('sessions of ' || $1::uuid::text, 0)) IS NULL AS "locked""#,
        owner.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Maximum sessions that one sign-in ends; further sign-ins end the rest.
const SURPLUS_AT_ONCE: i64 = 1_000;

/// Ends the least recently used sessions beyond `most`, except the new one, and returns them.
pub(crate) async fn end_surplus(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    begun: SessionId,
    most: i64,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"WITH ended AS (
               UPDATE sessions SET ended_at = $4, end_reason = $5, is_revoked = true
               WHERE ended_at IS NULL AND id IN (
                   SELECT s.id FROM sessions AS s
                   WHERE s.user_id = $1 AND s.id <> $2 AND s.ended_at IS NULL AND s.expires_at > $4
                     AND (s.idle_expires_at IS NULL OR s.idle_expires_at > $4)
                   ORDER BY GREATEST(s.created_at, s.rotations[1],
                       CASE WHEN s.token_hash IS NULL
                           THEN (SELECT max(issued_at) FROM refresh_tokens WHERE session_id = s.id) END) DESC, s.id DESC
                   OFFSET $3::bigint - 1 LIMIT $6
               )
               RETURNING id
           ), revocation AS (
               INSERT INTO session_revocations (user_id, session_ids, ended_at)
               SELECT $1, array_agg(id), $4 FROM ended HAVING count(*) > 0
           )
           SELECT id AS "id: SessionId" FROM ended"#,
        owner.0,
        begun.0,
        most,
        now,
        EndReason::SessionLimit.as_str(),
        SURPLUS_AT_ONCE,
    )
    .fetch_all(conn)
    .await
}

pub async fn count_sessions(
    conn: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM sessions
           WHERE ended_at IS NULL AND expires_at > $1 AND (idle_expires_at IS NULL OR idle_expires_at > $1)"#,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Whether a client of this network has signed in to the account since then and was not revoked. The same query
/// without an account, so that timing does not differ.
pub(crate) async fn is_known_client(
    conn: impl PgExecutor<'_>,
    user_id: Option<UserId>,
    network: IpAddr,
    since: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM sessions
               WHERE user_id = $1 AND created_at > $3 AND ip <<= $2
                 AND (end_reason IS NULL OR end_reason IN ('signed_out', 'session_limit'))
           ) AS "is_known!""#,
        user_id.map_or(Uuid::nil(), |id| id.0),
        customer(network),
        since,
    )
    .fetch_one(conn)
    .await
}

/// A single IPv4 address, or an IPv6 /64.
fn customer(network: IpAddr) -> IpNetwork {
    let whole = match network {
        IpAddr::V4(v4) => Ipv4Network::new(v4, 32).map(IpNetwork::from),
        IpAddr::V6(v6) => Ipv6Network::new(v6, 64).map(IpNetwork::from),
    };
    whole.unwrap_or_else(|_| network.into())
}

/// Tokens and sessions that are kept for a while after they have expired or ended.
pub(crate) const EXPIRED: [Expired; 3] = [
    Expired::new("refresh tokens", "refresh_tokens", "expires_at"),
    Expired::new("ended sessions", "sessions", "ended_at")
        .unless_held(scope::LEGAL_HOLDS, "user_id"),
    Expired::new("expired sessions", "sessions", "expires_at")
        .unless_held(scope::LEGAL_HOLDS, "user_id"),
];

/// The oldest are the first in the order of the primary key.
pub(crate) const REVOCATIONS: Expired =
    Expired::new("session revocations", "session_revocations", "ended_at")
        .unless_held(scope::LEGAL_HOLDS, "user_id")
        .ordered_by("xid, id");

/// Rows that the erasure of a user deletes, by the id of the user, which is that of the personal account.
pub(crate) const ERASED: [OwnedRows; 1] = [OwnedRows::new("sessions", "user_id")];
