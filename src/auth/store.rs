//! The statements on sessions and factors that administrators cause.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::ids::UserId;
use crate::users::Role;

/// What lets somebody look after other people's accounts, as it is now.
pub(in crate::auth) struct Standing {
    pub(in crate::auth) role: Role,
    pub(in crate::auth) is_disabled: bool,
    pub(in crate::auth) has_second_factor: bool,
}

/// How this account stands; `None` when it is gone.
pub(in crate::auth) async fn find_standing(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as!(
        Standing,
        r#"SELECT u.role AS "role: Role", u.disabled_at IS NOT NULL AS "is_disabled!",
                  EXISTS (
                      SELECT FROM mfa_factors AS f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL
                  ) AS "has_second_factor!"
           FROM users AS u WHERE u.id = $1 AND u.deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}

/// How many sessions have neither ended nor expired.
pub(in crate::auth) async fn count_living(
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
