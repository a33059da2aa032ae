//! Statements on `users` for administrators.

use chrono::{DateTime, Utc};
use email_transport::EmailAddress;
use http_toolkit::{PageSize, TimeCursor};
use sea_query::{Expr, ExprTrait as _, Order, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder as _;
use sqlx::PgExecutor;

use crate::ids::UserId;
use crate::users::Error;
use crate::users::model::{
    Account, AccountCounts, AccountFilter, CredentialsChange, DisabledReason, Role, SignUps,
};

/// Prefix search. The operators are those of the prefix indexes. The ids are collected first, because the planner
/// would otherwise scan all accounts in the order of the list.
const BEGINS_WITH: &str = "id = ANY (ARRAY (
    SELECT id FROM users
    WHERE (email ~>=~ lower($1) AND email ~<~ lower($2))
       OR (lower(COALESCE(first_name || ' ', '') || COALESCE(last_name, '')) ~>=~ lower($1)
           AND lower(COALESCE(first_name || ' ', '') || COALESCE(last_name, '')) ~<~ lower($2))
       OR (lower(last_name) ~>=~ lower($1) AND lower(last_name) ~<~ lower($2))))";

const COLUMNS: &str = "id, email, first_name, last_name, role, email_verified_at, disabled_at, disabled_reason, \
    created_at, updated_at";

/// Newest first; reads one row more than the page has.
pub async fn list_accounts(
    conn: impl PgExecutor<'_>,
    filter: &AccountFilter,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<Account>, sqlx::Error> {
    let mut query = Query::select();
    query
        .expr(Expr::cust(COLUMNS))
        .from("users")
        .and_where(Expr::col("deleted_at").is_null())
        .order_by("created_at", Order::Desc)
        .order_by("id", Order::Desc)
        .limit(u64::try_from(limit.one_more()).unwrap_or_default());
    if let Some(text) = &filter.search {
        query.and_where(Expr::cust_with_values(BEGINS_WITH, text.range()));
    }
    if let Some(role) = filter.role {
        // A literal, not a parameter, so that the partial index of administrators is used.
        query.and_where(Expr::col("role").eq(Expr::Constant(role.to_string().into())));
    }
    for (wanted, column) in [
        (filter.disabled, "disabled_at"),
        (filter.verified, "email_verified_at"),
    ] {
        match wanted {
            Some(true) => query.and_where(Expr::col(column).is_not_null()),
            Some(false) => query.and_where(Expr::col(column).is_null()),
            None => &mut query,
        };
    }
    if let Some(TimeCursor(at, id)) = after {
        let place = Expr::tuple([Expr::col("created_at"), Expr::col("id")]);
        query.and_where(place.lt(Expr::tuple([Expr::value(at), Expr::value(id)])));
    }
    let (sql, values) = query.build_sqlx(PostgresQueryBuilder);
    sqlx::query_as_with(sqlx::AssertSqlSafe(sql), values)
        .fetch_all(conn)
        .await
}

pub async fn get_account(conn: impl PgExecutor<'_>, id: UserId) -> Result<Account, Error> {
    let row = sqlx::query_as!(
        Account,
        r#"SELECT id AS "id: UserId", email AS "email: EmailAddress", first_name AS "first_name: _",
                  last_name AS "last_name: _", role AS "role: Role", email_verified_at, disabled_at,
                  disabled_reason AS "disabled_reason: _", created_at, updated_at
           FROM users WHERE id = $1 AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or(Error::NotFound)
}

/// Locks an account and all enabled administrators. Also blocks new sessions, which take a shared lock on the row.
/// Serializes concurrent changes of administrators, so that the
/// last one stays. One statement in the order of the ids: two statements could deadlock.
pub async fn lock_account_and_admins(
    conn: impl PgExecutor<'_>,
    id: UserId,
) -> Result<(Account, Vec<UserId>), Error> {
    let rows = sqlx::query_as!(
        Account,
        r#"SELECT id AS "id: UserId", email AS "email: EmailAddress", first_name AS "first_name: _",
                  last_name AS "last_name: _", role AS "role: Role", email_verified_at, disabled_at,
                  disabled_reason AS "disabled_reason: _", created_at, updated_at
           FROM users WHERE (id = $1 OR role = 'admin' AND disabled_at IS NULL AND erase_at IS NULL)
             AND deleted_at IS NULL
           ORDER BY id
           FOR UPDATE"#,
        id.0,
    )
    .fetch_all(conn)
    .await?;
    let admins = rows
        .iter()
        .filter(|row| row.role == Role::Admin && !row.is_disabled());
    let admins = admins.map(|row| row.id).collect();
    let account = rows.into_iter().find(|row| row.id == id);
    Ok((account.ok_or(Error::NotFound)?, admins))
}

/// Enabled administrators.
pub async fn list_admins(conn: impl PgExecutor<'_>) -> Result<Vec<UserId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: UserId" FROM users
           WHERE role = 'admin' AND disabled_at IS NULL AND erase_at IS NULL AND deleted_at IS NULL"#
    )
    .fetch_all(conn)
    .await
}

pub async fn set_role(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    role: Role,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET role = $2, updated_at = $3 WHERE id = $1 AND deleted_at IS NULL",
        change.user_id().0,
        role.to_string(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Enables the account if `disabled_at` is `None`.
pub async fn set_disabled(
    conn: impl PgExecutor<'_>,
    change: &CredentialsChange,
    disabled_at: Option<DateTime<Utc>>,
    reason: Option<&DisabledReason>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE users SET disabled_at = $2, disabled_reason = $3, updated_at = $4
         WHERE id = $1 AND deleted_at IS NULL",
        change.user_id().0,
        disabled_at,
        reason.map(DisabledReason::as_str),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns whether the account is one that smoke checks sign in as.
pub async fn is_synthetic(conn: impl PgExecutor<'_>, id: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM users WHERE id = $1 AND email LIKE '%@synthetic.invalid'
           ) AS "is_synthetic!""#,
        id.0,
    )
    .fetch_one(conn)
    .await
}

/// Counts the accounts of people.
pub async fn count_accounts(conn: impl PgExecutor<'_>) -> Result<AccountCounts, sqlx::Error> {
    sqlx::query_as!(
        AccountCounts,
        r#"SELECT count(*) AS "total!",
                  count(email_verified_at) AS "verified!",
                  count(*) FILTER (WHERE email_verified_at IS NULL) AS "unverified!",
                  count(disabled_at) AS "disabled!",
                  count(*) FILTER (WHERE role = 'admin' AND disabled_at IS NULL) AS "admins!"
           FROM users WHERE deleted_at IS NULL AND email NOT LIKE '%@synthetic.invalid'"#
    )
    .fetch_one(conn)
    .await
}

/// Counts the existing accounts of people by day of creation, today included.
pub async fn count_sign_ups(
    conn: impl PgExecutor<'_>,
    days: i32,
    now: DateTime<Utc>,
) -> Result<Vec<SignUps>, sqlx::Error> {
    sqlx::query_as!(
        SignUps,
        r#"WITH made AS (
               SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS count FROM users
               WHERE deleted_at IS NULL AND email NOT LIKE '%@synthetic.invalid'
                 AND created_at >= ($2::timestamptz AT TIME ZONE 'UTC')::date::timestamp AT TIME ZONE 'UTC'
                                   - make_interval(days => $1 - 1)
               GROUP BY 1
           )
           SELECT day::date AS "day!", COALESCE(made.count, 0) AS "count!"
           FROM generate_series(($2::timestamptz AT TIME ZONE 'UTC')::date - ($1 - 1),
                                ($2::timestamptz AT TIME ZONE 'UTC')::date, interval '1 day') AS days (day)
           LEFT JOIN made USING (day)
           ORDER BY 1"#,
        days,
        now,
    )
    .fetch_all(conn)
    .await
}
