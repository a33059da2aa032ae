//! Sessions of an account: list, count and limit.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::auth::sessions::model::{EndReason, SessionInfo};
use crate::ids::{SessionId, UserId};
use crate::web::{Limit, Moment};

/// Last used first.
pub(crate) async fn list(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    current: SessionId,
    after: Option<Moment>,
    limit: Limit,
    now: DateTime<Utc>,
) -> Result<Vec<SessionInfo>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id: SessionId", user_agent, ip, created_at, expires_at, last_used_at AS "last_used_at!"
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
    )
    .fetch_all(conn)
    .await?;
    let device = rows.into_iter().map(|row| SessionInfo {
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
