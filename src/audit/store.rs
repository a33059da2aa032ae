//! Every statement on `audit_log`, and the call that removes addresses from it.

use chrono::{DateTime, Utc};
use clock::Rng;
use http_toolkit::{PageSize, RequestId, TimeCursor, printable_user_agent};
use ipnetwork::IpNetwork;
use sea_query::{Expr, ExprTrait as _, Order, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder as _;
use sqlx::PgExecutor;

use super::entry::Entry;
use super::record::{Record, RecordFilter};
use crate::ctx::Origin;
use crate::ids::{AuditId, UserId};

const COLUMNS: &str = "id, created_at, event, account_id, user_id, actor_id, session_id, request_id, ip, user_agent, detail";

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    entry: &Entry,
    origin: &Origin,
    now: DateTime<Utc>,
    rng: &Rng,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit_log
             (id, created_at, event, user_id, actor_id, session_id, request_id, ip, user_agent, detail, account_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        AuditId::new(now, rng).0,
        now,
        entry.event.to_string(),
        entry.user_id.map(|id| id.0),
        entry.actor_id.map(|id| id.0),
        entry.session_id.map(|id| id.0),
        origin.request_id.as_ref().map(RequestId::as_str),
        origin.ip.map(IpNetwork::from),
        origin.user_agent.as_ref().and_then(printable_user_agent),
        entry.detail,
        entry.account_id.map(|id| id.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes addresses and user agents from the next entries before a time, about `limit` of them. Returns how many
/// had one, or `None` once all are done. The function runs with the rights of the schema's owner: this role cannot
/// change an entry.
pub(super) async fn remove_addresses(
    conn: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: i32,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar!("SELECT remove_audit_addresses($1, $2)", before, limit)
        .fetch_one(conn)
        .await
}

/// Makes the daily job look at all entries again, since it skips those of held accounts: for the end of a hold.
pub async fn restart_address_removal(conn: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE audit_address_progress SET removed_before = '-infinity'")
        .execute(conn)
        .await?;
    Ok(())
}

/// Newest first; reads one row more than the page has.
pub async fn list_records(
    conn: impl PgExecutor<'_>,
    filter: &RecordFilter,
    after: Option<TimeCursor>,
    limit: PageSize,
) -> Result<Vec<Record>, sqlx::Error> {
    let mut query = Query::select();
    query
        .expr(Expr::cust(COLUMNS))
        .from("audit_log")
        .order_by("created_at", Order::Desc)
        .order_by("id", Order::Desc)
        .limit(u64::try_from(limit.one_more()).unwrap_or_default());
    let request_id = filter.request_id.as_ref().map(RequestId::as_str);
    let equal: [(&'static str, Option<sea_query::Value>); 5] = [
        ("account_id", filter.account_id.map(Into::into)),
        ("user_id", filter.user_id.map(Into::into)),
        ("actor_id", filter.actor_id.map(Into::into)),
        ("event", filter.event.map(|event| event.to_string().into())),
        ("request_id", request_id.map(Into::into)),
    ];
    for (column, wanted) in equal {
        if let Some(value) = wanted {
            query.and_where(Expr::col(column).eq(value));
        }
    }
    if let Some(from) = filter.from {
        query.and_where(Expr::col("created_at").gte(from.get()));
    }
    if let Some(to) = filter.to {
        query.and_where(Expr::col("created_at").lt(to.get()));
    }
    if let Some(TimeCursor(at, id)) = after {
        // Redundant, but it excludes whole partitions.
        query.and_where(Expr::col("created_at").lte(at));
        let place = Expr::tuple([Expr::col("created_at"), Expr::col("id")]);
        query.and_where(place.lt(Expr::tuple([Expr::value(at), Expr::value(id)])));
    }
    let (sql, values) = query.build_sqlx(PostgresQueryBuilder);
    sqlx::query_as_with(sqlx::AssertSqlSafe(sql), values)
        .fetch_all(conn)
        .await
}

/// Removes addresses, user agents and details from at most `limit` entries of a user who is deleted; returns from how many.
/// The function runs with the rights of the schema's owner.
pub async fn erase_details(
    conn: impl PgExecutor<'_>,
    user_id: UserId,
    limit: i32,
) -> Result<i32, sqlx::Error> {
    let changed = sqlx::query_scalar!("SELECT erase_audit_details($1, $2)", user_id.0, limit)
        .fetch_one(conn)
        .await?;
    Ok(changed.unwrap_or_default())
}
