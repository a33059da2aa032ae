//! Every statement on `consents`.

use chrono::{DateTime, Utc};
use http_toolkit::printable_user_agent;
use ipnetwork::IpNetwork;
use sqlx::PgExecutor;

use super::model::{Line, NewLine, OptionalKind, Source};
use crate::ctx::Origin;
use crate::ids::UserId;

/// Appends lines, unless `is_recorded` is false: the statement is then the same and has no effect.
pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    lines: &[NewLine<'_>],
    is_recorded: bool,
    (source, origin): (Source, &Origin),
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let kinds: Vec<_> = lines.iter().map(|line| line.kind.to_owned()).collect();
    let versions: Vec<_> = lines
        .iter()
        .map(|line| line.version.map(str::to_owned))
        .collect();
    let given: Vec<_> = lines.iter().map(|line| line.is_given).collect();
    sqlx::query!(
        "INSERT INTO consents (user_id, kind, version, is_given, source, ip, user_agent, created_at)
         SELECT $1, new.kind, new.version, new.is_given, $5, $6, $7, $8
         FROM unnest($2::text[], $3::text[], $4::boolean[]) AS new (kind, version, is_given)
         WHERE $9",
        user_id.0,
        &kinds,
        &versions as &[Option<String>],
        &given,
        source.as_str(),
        origin.ip.map(IpNetwork::from),
        origin.user_agent.as_ref().and_then(printable_user_agent),
        now,
        is_recorded,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest line of each kind.
pub async fn list_lines(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as!(
        Line,
        "SELECT DISTINCT ON (kind) kind, version, is_given, created_at
         FROM consents WHERE user_id = $1 ORDER BY kind, id DESC",
        user_id.0,
    )
    .fetch_all(conn)
    .await
}

/// Returns whether the user has turned this kind on.
pub async fn is_given(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    kind: OptionalKind,
) -> Result<bool, sqlx::Error> {
    let newest = sqlx::query_scalar!(
        "SELECT is_given FROM consents WHERE user_id = $1 AND kind = $2 ORDER BY id DESC LIMIT 1",
        user_id.0,
        kind.as_str(),
    );
    Ok(newest.fetch_optional(conn).await?.unwrap_or_default())
}

/// Users who have turned this kind on, after `after` in the order of their ids.
pub async fn list_users(
    conn: impl PgExecutor<'_>,
    kind: OptionalKind,
    after: Option<UserId>,
    most: i64,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT user_id AS "user_id: UserId" FROM (
               SELECT DISTINCT ON (user_id) user_id, is_given FROM consents
               WHERE kind = $1 AND version IS NULL AND ($2::uuid IS NULL OR user_id > $2)
               ORDER BY user_id, id DESC
           ) AS newest
           WHERE is_given ORDER BY user_id LIMIT $3"#,
        kind.as_str(),
        after.map(|id| id.0),
        most,
    )
    .fetch_all(conn)
    .await
}

/// Lines that [`list_new_users`] reads.
const NEW_LINES: i64 = 1_000;

/// Users who have turned this kind on since a time, among the last thousand lines. Reads these by the primary key, so that
/// it costs the same however many users there are.
pub async fn list_new_users(
    conn: impl PgExecutor<'_>,
    kind: OptionalKind,
    since: DateTime<Utc>,
    most: i64,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT user_id AS "user_id: UserId"
           FROM (SELECT user_id, kind, is_given, created_at FROM consents ORDER BY id DESC LIMIT $3) AS newest
           WHERE kind = $1 AND is_given AND created_at >= $2 LIMIT $4"#,
        kind.as_str(),
        since,
        NEW_LINES,
        most,
    )
    .fetch_all(conn)
    .await
}

/// Number of these documents that the user has accepted in these versions.
pub(super) async fn count_accepted(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    kinds: &[String],
    versions: &[String],
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM unnest($2::text[], $3::text[]) AS required (kind, version)
           WHERE EXISTS (
               SELECT FROM consents AS c
               WHERE c.user_id = $1 AND c.kind = required.kind AND c.version = required.version
           )"#,
        user_id.0,
        kinds,
        versions,
    )
    .fetch_one(conn)
    .await
}

/// Deletes what sign-ups for the address have accepted: with several sign-ups nobody knows which of them was the
/// owner's.
pub async fn delete_of_sign_ups(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM consents WHERE user_id = $1 AND source = 'sign_up'",
        user_id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}
