//! Every statement on `legal_holds`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Hold, NewHold};
use crate::ids::UserId;

/// Places a hold, or replaces that of the account.
pub(super) async fn put(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    hold: &NewHold,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO legal_holds (user_id, reason, placed_by, created_at, ends_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT ON CONSTRAINT legal_holds_pkey DO UPDATE
         SET reason = excluded.reason, placed_by = excluded.placed_by, ends_at = excluded.ends_at",
        user_id.0,
        hold.reason.as_str(),
        hold.placed_by.as_str(),
        now,
        hold.ends_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(in crate::privacy) async fn find(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<Hold>, sqlx::Error> {
    sqlx::query_as!(
        Hold,
        "SELECT reason, placed_by, ends_at FROM legal_holds WHERE user_id = $1",
        user_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Locks the hold of an account, if there is one: it is not released until the end of the transaction.
pub(in crate::privacy) async fn is_held(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<bool, sqlx::Error> {
    let held = sqlx::query_scalar!(
        r#"SELECT true AS "is_held!" FROM legal_holds WHERE user_id = $1 FOR SHARE"#,
        user_id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Returns false if there is none.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!("DELETE FROM legal_holds WHERE user_id = $1", user_id.0)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes holds that have ended; returns whose.
pub(super) async fn delete_ended(
    conn: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"DELETE FROM legal_holds WHERE ends_at <= $1 RETURNING user_id AS "id: UserId""#,
        now,
    )
    .fetch_all(conn)
    .await
}
