//! Every statement on `avatars`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::model::{Avatar, AvatarObject};
use crate::ids::{AvatarId, UserId};

/// Picture by its public id.
pub(super) async fn find(
    conn: impl PgExecutor<'_>,
    id: AvatarId,
) -> Result<Option<Avatar>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT a.user_id AS "user_id: UserId", a.object_id, a.content_type
           FROM avatars AS a JOIN users AS u ON u.id = a.user_id
           WHERE a.id = $1 AND u.deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Avatar {
        object: AvatarObject {
            user_id: row.user_id,
            object_id: row.object_id,
        },
        content_type: row.content_type,
    }))
}

/// Object of a user's picture, locked.
pub(super) async fn lock(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT object_id FROM avatars WHERE user_id = $1 FOR UPDATE",
        user_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Inserts a picture, or replaces the user's picture, which keeps its id.
pub(super) async fn put(
    conn: impl PgExecutor<'_>,
    id: AvatarId,
    object: AvatarObject,
    content_type: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO avatars (id, user_id, object_id, content_type, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT ON CONSTRAINT avatars_pkey DO UPDATE
         SET object_id = EXCLUDED.object_id, content_type = EXCLUDED.content_type, updated_at = EXCLUDED.updated_at",
        id.0,
        object.user_id.0,
        object.object_id,
        content_type,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a picture if its object is still this one.
pub(super) async fn delete(
    conn: impl PgExecutor<'_>,
    object: AvatarObject,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM avatars WHERE user_id = $1 AND object_id = $2",
        object.user_id.0,
        object.object_id,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Object that a row names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) user_id: UserId,
    pub(super) object_id: Uuid,
    pub(super) updated_at: DateTime<Utc>,
}

/// Pictures of users from one id to another, both included, who are not deleted.
pub(super) async fn list(
    conn: impl PgExecutor<'_>,
    from: UserId,
    until: UserId,
) -> Result<Vec<Known>, sqlx::Error> {
    sqlx::query_as!(
        Known,
        r#"SELECT a.user_id AS "user_id: UserId", a.object_id, a.updated_at
           FROM avatars AS a JOIN users AS u ON u.id = a.user_id
           WHERE a.user_id >= $1 AND a.user_id <= $2 AND u.deleted_at IS NULL"#,
        from.0,
        until.0,
    )
    .fetch_all(conn)
    .await
}

/// Object of a user's picture.
pub(super) async fn find_object(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT object_id FROM avatars WHERE user_id = $1",
        user_id.0
    )
    .fetch_optional(conn)
    .await
}

/// Objects of the pictures of these users.
pub(super) async fn list_objects(
    conn: impl PgExecutor<'_>,
    user_ids: &[Uuid],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT object_id FROM avatars WHERE user_id = ANY($1)",
        user_ids
    )
    .fetch_all(conn)
    .await
}
