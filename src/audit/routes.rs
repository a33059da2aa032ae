//! `/audit-log`: what happened to one's own account.

use utoipa_axum::routes;

use super::record::{OwnRecord, Record, RecordFilter};
use super::store;
use crate::ctx::UserCtx;
use crate::state::AppState;
use crate::web::{Json, Moment, Page, PageParams, Paged, Problem, QueryProblems, Routes};

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(list_own_audit_log))
}

/// What happened to my account, the newest first.
///
/// Of what an administrator did, it tells that one did, and not which.
#[utoipa::path(get, path = "/audit-log", tag = "users", params(PageParams),
    responses((status = 200, description = "A page of the log.", body = Page<OwnRecord>), QueryProblems))]
async fn list_own_audit_log(
    ctx: UserCtx,
    paged: Paged<Moment>,
) -> Result<Json<Page<OwnRecord>>, Problem> {
    let user_id = ctx.user_id();
    let own = RecordFilter {
        user_id: Some(user_id),
        ..RecordFilter::default()
    };
    let rows = store::list_records(&ctx.db, &own, paged.after, paged.limit).await?;
    let page = Page::cut(rows, paged.limit, Record::moment);
    Ok(Json(page.map(|record| OwnRecord::of(user_id, record))))
}
