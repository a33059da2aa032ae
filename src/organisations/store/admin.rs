//! Statements on organisations for administrators.

use http_toolkit::{PageSize, TimeCursor};
use sqlx::PgExecutor;

use crate::ids::AccountId;
use crate::organisations::model::{OrganisationFilter, OrganisationSummary};
use crate::organisations::slug::Slug;
use crate::users::SearchText;

/// Newest first, deleted ones included; reads one row more than the page has. A search reads all names: row-level
/// security admits no index on an expression with `lower`.
pub async fn list_summaries(
    conn: impl PgExecutor<'_>,
    filter: &OrganisationFilter,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<OrganisationSummary>, sqlx::Error> {
    let (created_at, id) = after.map(|TimeCursor(at, id)| (at, id)).unzip();
    let range = filter.search.as_ref().map(SearchText::range);
    let [least, above] = range.map_or([None, None], |range| range.map(Some));
    sqlx::query_as!(
        OrganisationSummary,
        r#"SELECT a.id AS "id: AccountId", a.name AS "name!", s.slug AS "slug?: Slug",
                  (SELECT count(*) FROM memberships WHERE account_id = a.id) AS "members!",
                  a.created_at, a.updated_at, a.deleted_at
           FROM accounts AS a
           LEFT JOIN account_slugs AS s ON s.account_id = a.id AND s.replaced_at IS NULL
           WHERE a.kind = 'organisation'
             AND ($1::timestamptz IS NULL OR (a.created_at, a.id) < ($1, $2))
             AND ($3::text IS NULL
                  OR (lower(a.name) ~>=~ lower($3) AND lower(a.name) ~<~ lower($4))
                  OR EXISTS (SELECT FROM account_slugs AS f
                             WHERE f.account_id = a.id AND f.slug ~>=~ lower($3) AND f.slug ~<~ lower($4)))
           ORDER BY a.created_at DESC, a.id DESC
           LIMIT $5"#,
        created_at,
        id,
        least,
        above,
        limit.one_more(),
    )
    .fetch_all(conn)
    .await
}

pub async fn find_summary(
    conn: impl PgExecutor<'_>,
    id: AccountId,
) -> Result<Option<OrganisationSummary>, sqlx::Error> {
    sqlx::query_as!(
        OrganisationSummary,
        r#"SELECT a.id AS "id: AccountId", a.name AS "name!", s.slug AS "slug?: Slug",
                  (SELECT count(*) FROM memberships WHERE account_id = a.id) AS "members!",
                  a.created_at, a.updated_at, a.deleted_at
           FROM accounts AS a
           LEFT JOIN account_slugs AS s ON s.account_id = a.id AND s.replaced_at IS NULL
           WHERE a.id = $1 AND a.kind = 'organisation'"#,
        id.0,
    )
    .fetch_optional(conn)
    .await
}
