//! `/audit-log` of the caller's own account.

use http_toolkit::{
    Json, Page, PageParams, PageRequest, Problem, QueryProblems, Routes, TimeCursor,
};
use utoipa_axum::routes;

use super::record::{OwnRecord, Record, RecordFilter};
use super::store;
use crate::ctx::{UserCtx, read_replica};
use crate::state::AppState;

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(list_own_audit_log))
}

/// List my audit log, newest first.
///
/// Entries about actions of an administrator do not say which administrator it was.
#[utoipa::path(get, path = "/audit-log", tag = "users", params(PageParams),
    responses((status = 200, description = "A page of audit log entries.", body = Page<OwnRecord>), QueryProblems))]
async fn list_own_audit_log(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<OwnRecord>>, Problem> {
    let user_id = ctx.user_id();
    let own = RecordFilter {
        user_id: Some(user_id),
        ..RecordFilter::default()
    };
    let rows = read_replica!(ctx.lagging_reads(), conn => {
        store::list_records(conn, &own, paged.after, paged.limit)
    })?;
    let page = Page::cut(rows, paged.limit, Record::moment);
    Ok(Json(page.map(|record| OwnRecord::of(user_id, record))))
}
