//! Statements on `usage_summaries`.

use chrono::{DateTime, Utc};
use clock::Month;
use job_queue::Expired;
use sqlx::PgExecutor;
use uuid::Uuid;

use crate::ids::UserId;

/// Inserts a row for each user who has none of the month; returns those users. Of concurrent calls one gets a user.
pub(super) async fn insert_new(
    conn: impl PgExecutor<'_>,
    users: &[UserId],
    month: Month,
    now: DateTime<Utc>,
) -> Result<Vec<UserId>, sqlx::Error> {
    let ids: Vec<Uuid> = users.iter().map(|id| id.0).collect();
    sqlx::query_scalar!(
        r#"INSERT INTO usage_summaries (user_id, month, created_at)
           SELECT id, $2, $3 FROM unnest($1::uuid[]) AS ids (id) ORDER BY id
           ON CONFLICT ON CONSTRAINT usage_summaries_pkey DO NOTHING
           RETURNING user_id AS "user_id: UserId""#,
        &ids,
        month.first_day(),
        now,
    )
    .fetch_all(conn)
    .await
}

/// Returns whether the summary waits to be sent: not if it was sent, or its row is gone.
pub(super) async fn is_waiting(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    month: Month,
) -> Result<bool, sqlx::Error> {
    let waiting = sqlx::query_scalar!(
        r#"SELECT sent_at IS NULL AS "is_waiting!" FROM usage_summaries WHERE user_id = $1 AND month = $2"#,
        user_id.0,
        month.first_day(),
    );
    Ok(waiting.fetch_optional(conn).await?.unwrap_or_default())
}

pub(super) async fn set_sent(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    month: Month,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE usage_summaries SET sent_at = $3 WHERE user_id = $1 AND month = $2",
        user_id.0,
        month.first_day(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a row whose summary is not sent, so that a user who asks for it again gets it.
pub(super) async fn delete_waiting(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    month: Month,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM usage_summaries WHERE user_id = $1 AND month = $2 AND sent_at IS NULL",
        user_id.0,
        month.first_day(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) const EXPIRED: Expired =
    Expired::new("usage summaries", "usage_summaries", "created_at");
