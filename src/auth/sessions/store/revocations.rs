//! Session revocations since the last read.

use chrono::{DateTime, Utc};
use session_tokens::{Position, RevocationPage, RevokedSessions};
use sqlx::{AssertSqlSafe, FromRow, PgExecutor};
use uuid::Uuid;

const PAGE: i64 = 5_000;

/// Adds one row for the sessions of everybody that began up to a time, and have ended now. Returns that time: the later one of `now`
/// and of the database's clock, so that a clock that is late leaves no session out.
pub(crate) async fn revoke_all(
    conn: impl PgExecutor<'_>,
    begun_until: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"INSERT INTO session_revocations (begun_until, ended_at)
           SELECT coalesce($1, latest), latest FROM greatest($2, clock_timestamp()) AS latest
           RETURNING begun_until AS "begun_until!""#,
        begun_until,
        now,
    )
    .fetch_one(conn)
    .await
}

/// Ends the next `limit` sessions after one, of those that began up to a time. Returns how many it has ended, and the last that
/// it has read; `None` once there are no more.
pub(crate) async fn end_next(
    conn: impl PgExecutor<'_>,
    after: Uuid,
    begun_until: DateTime<Utc>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Option<(i64, Uuid)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"WITH next AS (
               SELECT id FROM sessions WHERE id > $1 AND created_at <= $2 ORDER BY id LIMIT $3
           ), ended AS (
               UPDATE sessions SET ended_at = $4, end_reason = 'ended_by_admin', is_revoked = true
               FROM next WHERE sessions.id = next.id AND sessions.ended_at IS NULL
               RETURNING sessions.id
           )
           SELECT (SELECT count(*) FROM ended) AS "ended!", (SELECT id FROM next ORDER BY id DESC LIMIT 1) AS last"#,
        after,
        begun_until,
        limit,
        now,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.last.map(|last| (row.ended, last)))
}

#[derive(FromRow)]
struct Row {
    oldest_running: i64,
    server: DateTime<Utc>,
    xid: Option<i64>,
    id: Option<i64>,
    user_id: Option<Uuid>,
    session_ids: Option<Vec<Uuid>>,
    begun_until: Option<DateTime<Utc>>,
    kept_session_id: Option<Uuid>,
    ended_at: Option<DateTime<Utc>>,
}

/// Of sessions that ended after `since`.
pub(crate) async fn list_revocations(
    conn: impl PgExecutor<'_>,
    from: Position,
    since: DateTime<Utc>,
) -> Result<RevocationPage, sqlx::Error> {
    // Not prepared: a plan that was made while the table was small would read all of it later. As one message, since a pooler
    // may send the two of an unnamed statement to two sessions.
    let (xid, id, since) = (from.xid, from.id, since.to_rfc3339());
    let rows = sqlx::raw_sql(AssertSqlSafe(format!(
        "SELECT s.oldest_running, s.server, r.*
         FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_running,
                      pg_postmaster_start_time() AS server) AS s
         LEFT JOIN (
             SELECT xid, id, user_id, session_ids, begun_until, kept_session_id, ended_at
             FROM session_revocations
             WHERE (xid, id) >= ({xid}, {id}) AND ended_at > '{since}'
             ORDER BY xid, id LIMIT {PAGE}
         ) AS r ON true",
    )))
    .fetch_all(conn)
    .await?;
    let rows = rows
        .iter()
        .map(Row::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (oldest_running, server) = (first.oldest_running, first.server);
    let last = rows.last().and_then(|row| Some((row.xid?, row.id?)));
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= PAGE);
    let next = last.filter(|_| is_full);
    let revocations = rows.into_iter().filter_map(|row| {
        let revoked = match (row.session_ids, row.begun_until) {
            (None, Some(created_until)) => match row.user_id {
                Some(owner) => RevokedSessions::AllUntil {
                    owner,
                    created_until,
                    kept: row.kept_session_id,
                },
                None => RevokedSessions::EverybodyUntil { created_until },
            },
            (ids, _) => RevokedSessions::Ids(ids.unwrap_or_default()),
        };
        Some((revoked, row.ended_at?))
    });
    Ok(RevocationPage {
        oldest_running,
        server,
        revocations: revocations.collect(),
        next: next.map(|(xid, id)| Position { xid, id: id + 1 }),
    })
}
