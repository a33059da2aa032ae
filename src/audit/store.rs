//! Every statement on `audit_log`, and the call that removes addresses from it.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use sea_query::{Expr, ExprTrait as _, Iden, Order, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder as _;
use serde_json::Value;
use sqlx::PgExecutor;

use super::entry::Entry;
use super::model::Event;
use super::record::{Record, RecordFilter};
use crate::ctx::Origin;
use crate::ids::{AuditId, SessionId, UserId};
use crate::infra::Rng;
use crate::web::{Limit, Moment, RequestId, printable_user_agent};

#[derive(Clone, Copy, Iden)]
enum AuditLog {
    Table,
    Id,
    CreatedAt,
    Event,
    UserId,
    ActorId,
    SessionId,
    RequestId,
    Ip,
    UserAgent,
    Detail,
}

pub(super) async fn insert(
    conn: impl PgExecutor<'_>,
    entry: &Entry,
    origin: &Origin,
    now: DateTime<Utc>,
    rng: &Rng,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit_log (id, created_at, event, user_id, actor_id, session_id, request_id, ip, user_agent, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        AuditId::new(now, rng).0,
        now,
        entry.event.as_str(),
        entry.user_id.map(|id| id.0),
        entry.actor_id.map(|id| id.0),
        entry.session_id.map(|id| id.0),
        origin.request_id.as_ref().map(RequestId::as_str),
        origin.ip.map(IpNetwork::from),
        origin.user_agent.as_ref().and_then(printable_user_agent),
        entry.detail,
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

#[derive(sqlx::FromRow)]
struct Row {
    id: AuditId,
    created_at: DateTime<Utc>,
    event: String,
    user_id: Option<UserId>,
    actor_id: Option<UserId>,
    session_id: Option<SessionId>,
    request_id: Option<String>,
    ip: Option<IpNetwork>,
    user_agent: Option<String>,
    detail: Value,
}

/// Newest first; reads one row more than the page has.
pub async fn list_records(
    conn: impl PgExecutor<'_>,
    filter: &RecordFilter,
    after: Option<Moment>,
    limit: Limit,
) -> Result<Vec<Record>, sqlx::Error> {
    let mut query = Query::select();
    query
        .columns([
            AuditLog::Id,
            AuditLog::CreatedAt,
            AuditLog::Event,
            AuditLog::UserId,
            AuditLog::ActorId,
            AuditLog::SessionId,
            AuditLog::RequestId,
            AuditLog::Ip,
            AuditLog::UserAgent,
            AuditLog::Detail,
        ])
        .from(AuditLog::Table)
        .order_by(AuditLog::CreatedAt, Order::Desc)
        .order_by(AuditLog::Id, Order::Desc)
        .limit(u64::try_from(limit.one_more()).unwrap_or_default());
    let equal: [(AuditLog, Option<sea_query::Value>); 4] = [
        (AuditLog::UserId, filter.user_id.map(Into::into)),
        (AuditLog::ActorId, filter.actor_id.map(Into::into)),
        (
            AuditLog::Event,
            filter.event.map(|event| Event::as_str(event).into()),
        ),
        (
            AuditLog::RequestId,
            filter.request_id.as_ref().map(|id| id.as_str().into()),
        ),
    ];
    for (column, wanted) in equal {
        if let Some(value) = wanted {
            query.and_where(Expr::col(column).eq(value));
        }
    }
    if let Some(from) = filter.from {
        query.and_where(Expr::col(AuditLog::CreatedAt).gte(from.get()));
    }
    if let Some(to) = filter.to {
        query.and_where(Expr::col(AuditLog::CreatedAt).lt(to.get()));
    }
    if let Some(Moment(at, id)) = after {
        // Redundant, but it excludes whole partitions.
        query.and_where(Expr::col(AuditLog::CreatedAt).lte(at));
        let place = Expr::tuple([Expr::col(AuditLog::CreatedAt), Expr::col(AuditLog::Id)]);
        query.and_where(place.lt(Expr::tuple([Expr::value(at), Expr::value(id)])));
    }
    let (sql, values) = query.build_sqlx(PostgresQueryBuilder);
    let rows: Vec<Row> = sqlx::query_as_with(sqlx::AssertSqlSafe(sql), values)
        .fetch_all(conn)
        .await?;
    let record = |row: Row| Record {
        id: row.id,
        created_at: row.created_at,
        event: row.event,
        user_id: row.user_id,
        actor_id: row.actor_id,
        session_id: row.session_id,
        request_id: row.request_id,
        ip: row.ip.map(|network| network.ip()),
        user_agent: row.user_agent,
        detail: row.detail,
    };
    Ok(rows.into_iter().map(record).collect())
}
