//! The sessions of an account: the list, and the most that may live.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::auth::model::{Device, EndReason};
use crate::ids::{SessionId, UserId};
use crate::web::{Limit, Moment};

/// A page of the living sessions of this owner, the last used first.
pub(in crate::auth) async fn list_sessions(
    conn: impl PgExecutor<'_>,
    owner: UserId,
    current: SessionId,
    after: Option<Moment>,
    limit: Limit,
    now: DateTime<Utc>,
) -> Result<Vec<Device>, sqlx::Error> {
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

/// Waits for other sign-ins of this account that count its sessions, so that each sees those before.
pub(in crate::auth) async fn lock_sessions(
    conn: impl PgExecutor<'_>,
    owner: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended('sessions of ' || $1::uuid::text, 0)) IS NULL AS "locked""#,
        owner.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// The most sessions that one sign-in ends. An account that had far more than may live is brought within
/// the limit by its next sign-ins.
const SURPLUS_AT_ONCE: i64 = 1_000;

/// Ends the sessions of this owner beyond the `most` that were used last, and returns them. The one that
/// has just begun stays.
pub(in crate::auth) async fn end_surplus(
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
