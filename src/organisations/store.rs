//! Every statement on `accounts`, `account_slugs` and `memberships`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::Slug;
use crate::ids::{AccountId, UserId};
use crate::roles::AccountRole;

/// An organisation that a slug leads to.
#[derive(Clone, Debug)]
pub(super) struct SlugTarget {
    pub(super) account_id: AccountId,
    /// The slug of today, if this one is a former one.
    pub(super) renamed_to: Option<Slug>,
}

/// `former_since` is the time before which former slugs no longer lead anywhere.
pub(super) async fn find_slug(
    conn: impl PgExecutor<'_>,
    slug: &Slug,
    former_since: DateTime<Utc>,
) -> Result<Option<SlugTarget>, sqlx::Error> {
    sqlx::query_as!(
        SlugTarget,
        r#"SELECT s.account_id AS "account_id: AccountId", nullif(c.slug, s.slug) AS "renamed_to: Slug"
           FROM account_slugs AS s
           JOIN account_slugs AS c ON c.account_id = s.account_id AND c.replaced_at IS NULL
           WHERE s.slug = $1 AND (s.replaced_at IS NULL OR s.replaced_at > $2)"#,
        slug.as_str(),
        former_since,
    )
    .fetch_optional(conn)
    .await
}

/// The role of a user in an organisation that is not deleted.
pub(super) async fn find_role(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
    user_id: UserId,
) -> Result<Option<AccountRole>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT m.role AS "role: AccountRole"
           FROM memberships AS m
           JOIN accounts AS a ON a.id = m.account_id AND a.deleted_at IS NULL
           WHERE m.account_id = $1 AND m.user_id = $2"#,
        account_id.0,
        user_id.0,
    )
    .fetch_optional(conn)
    .await
}

/// Locks an account until the end of the transaction, so that concurrent changes of what it may have so many of are
/// made one after the other. Returns false if it does not exist or is deleted.
pub async fn lock_account(
    conn: impl PgExecutor<'_>,
    account_id: AccountId,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query_scalar!(
        r#"SELECT 1 AS "found!" FROM accounts WHERE id = $1 AND deleted_at IS NULL FOR UPDATE"#,
        account_id.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}
