//! Every statement on `data_requests`.

use chrono::{DateTime, Utc};
use job_queue::Expired;
use sqlx::PgExecutor;

use super::model::{Note, OpenRequest};
use crate::cli::RequestKind;
use crate::ids::{DataRequestId, UserId};

pub(super) const EXPIRED: Expired = Expired::new("data requests", "data_requests", "closed_at");

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    id: DataRequestId,
    user_id: Option<UserId>,
    kind: RequestKind,
    reference: &Note,
    received_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO data_requests (id, user_id, kind, reference, received_at) VALUES ($1, $2, $3, $4, $5)",
        id.0,
        user_id.map(|id| id.0),
        kind.as_str(),
        reference.as_str(),
        received_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns false if no such request is open.
pub(super) async fn close(
    conn: impl PgExecutor<'_>,
    id: DataRequestId,
    answer: &Note,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE data_requests SET answer = $2, closed_at = $3 WHERE id = $1 AND closed_at IS NULL",
        id.0,
        answer.as_str(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Open requests, the oldest first.
pub(super) async fn list_open(conn: impl PgExecutor<'_>) -> Result<Vec<OpenRequest>, sqlx::Error> {
    sqlx::query_as!(
        OpenRequest,
        r#"SELECT id AS "id: DataRequestId", user_id AS "user_id: UserId", kind, reference, received_at
           FROM data_requests WHERE closed_at IS NULL ORDER BY received_at, id"#,
    )
    .fetch_all(conn)
    .await
}

/// When the oldest open request was received.
pub(in crate::privacy) async fn find_oldest_open(
    conn: impl PgExecutor<'_>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT min(received_at) FROM data_requests WHERE closed_at IS NULL"#)
        .fetch_one(conn)
        .await
}
