//! `/billing/invoices`.

use http_toolkit::{
    Json, Page, PageParams, PageRequest, Problem, QueryProblems, Routes, TimeCursor,
};
use utoipa_axum::routes;

use super::model::Invoice;
use super::store;
use crate::ctx::CallerCtx;
use crate::state::AppState;

pub fn routes() -> Routes<AppState> {
    Routes::new().routes(routes!(list_invoices))
}

/// List invoices, newest first.
///
/// Drafts are not listed.
#[utoipa::path(get, path = "/invoices", tag = "billing", params(PageParams),
    responses((status = 200, description = "A page of invoices.", body = Page<Invoice>), QueryProblems))]
async fn list_invoices(
    ctx: CallerCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<Invoice>>, Problem> {
    let mut tx = ctx.begin().await?;
    let rows = store::list(&mut *tx, ctx.account_id(), paged.after, paged.limit).await?;
    tx.commit().await?;
    let page = Page::cut(rows, paged.limit, |invoice| {
        TimeCursor(invoice.created_at, invoice.id.0)
    });
    Ok(Json(page))
}
