//! Which sessions were revoked since the last look.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

/// Up to where a look has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) struct Position {
    /// Transactions before this number had ended, and their rows were seen.
    pub(in crate::auth) xid: i64,
    /// When the server was started. The numbers of another server, of a standby that was promoted or of
    /// a restored backup, say nothing.
    pub(in crate::auth) server: DateTime<Utc>,
}

/// Sessions of one owner that were revoked together.
#[derive(Debug)]
pub(in crate::auth) struct Revocation {
    pub(in crate::auth) user_id: Uuid,
    pub(in crate::auth) session_ids: Option<Vec<Uuid>>,
    pub(in crate::auth) begun_until: Option<DateTime<Utc>>,
    pub(in crate::auth) kept_session_id: Option<Uuid>,
    pub(in crate::auth) ended_at: DateTime<Utc>,
}

/// What a look has found.
#[derive(Debug)]
pub(in crate::auth) struct Look {
    pub(in crate::auth) position: Position,
    pub(in crate::auth) revocations: Vec<Revocation>,
}

/// The revocations since `since` of transactions that had not ended at `after`; all of them where there
/// is no position. A transaction that began before another and commits after it is not missed, since the
/// position is the oldest that still ran.
pub(in crate::auth) async fn list_revocations(
    conn: impl PgExecutor<'_>,
    after: Option<Position>,
    since: DateTime<Utc>,
) -> Result<Look, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT p.xid AS "xid!", p.server AS "server!", r.user_id AS "user_id?", r.session_ids, r.begun_until,
                  r.kept_session_id, r.ended_at AS "ended_at?"
           FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid,
                        pg_postmaster_start_time() AS server) AS p
           LEFT JOIN session_revocations AS r
               ON r.xid >= $1 AND r.ended_at > $3 AND ($2::timestamptz IS NULL OR p.server = $2)"#,
        after.map_or(0, |position| position.xid),
        after.map(|position| position.server),
        since,
    )
    .fetch_all(conn)
    .await?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let position = Position {
        xid: first.xid,
        server: first.server,
    };
    let revocations = rows.into_iter().filter_map(|row| {
        Some(Revocation {
            user_id: row.user_id?,
            session_ids: row.session_ids,
            begun_until: row.begun_until,
            kept_session_id: row.kept_session_id,
            ended_at: row.ended_at?,
        })
    });
    Ok(Look {
        position,
        revocations: revocations.collect(),
    })
}
