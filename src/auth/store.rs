//! Statements that span the folders of this slice.

use sqlx::PgExecutor;

use crate::ids::UserId;
use crate::users::Role;

pub(crate) struct AccountStatus {
    pub(crate) role: Role,
    pub(crate) is_disabled: bool,
    pub(crate) has_second_factor: bool,
}

pub(crate) async fn find_account_status(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<Option<AccountStatus>, sqlx::Error> {
    sqlx::query_as!(
        AccountStatus,
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

/// Deletes emailed links and pending sign-ins.
pub(crate) async fn delete_outstanding(
    conn: impl PgExecutor<'_>,
    owner: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH waiting AS (DELETE FROM mfa_challenges WHERE user_id = $1)
         DELETE FROM one_time_tokens WHERE user_id = $1",
        owner.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
