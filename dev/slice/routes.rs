//! `/sample-items`.

use axum::http::StatusCode;
use http_toolkit::{
    Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems, Routes, TimeCursor,
    body_problem_groups,
};
use serde_json::json;
use utoipa_axum::routes;

use super::error::Error;
use super::model::{NewSampleItem, SampleItem, SampleItemChanges};
use super::{service, store};
use crate::audit::Event;
use crate::ctx::CallerCtx;
use crate::ids::SampleItemId;
use crate::state::AppState;
use crate::web::Code;

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_sample_items, create_sample_item))
        .routes(routes!(get_sample_item, change_sample_item, delete_sample_item))
}

body_problem_groups! {
    CreateProblems [Code::NotFound, Code::TooManySampleItems];
    ChangeProblems [Code::NotFound];
}

/// List sample items, newest first.
#[utoipa::path(get, path = "", tag = "sample items", params(PageParams),
    responses((status = 200, description = "A page of sample items.", body = Page<SampleItem>), QueryProblems))]
async fn list_sample_items(
    ctx: CallerCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<SampleItem>>, Problem> {
    let mut tx = ctx.begin().await?;
    let rows = store::list(&mut *tx, ctx.account_id(), paged.after, paged.limit).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, paged.limit, |sample_item| {
        TimeCursor(sample_item.created_at, sample_item.id.0)
    })))
}

/// Create a sample item.
#[utoipa::path(post, path = "", tag = "sample items",
    request_body(content = NewSampleItem, example = json!({ "name": "Apollo" })),
    responses((status = 201, description = "The new sample item.", body = SampleItem), CreateProblems))]
async fn create_sample_item(
    ctx: CallerCtx,
    Json(new): Json<NewSampleItem>,
) -> Result<(StatusCode, Json<SampleItem>), Problem> {
    let sample_item = service::create(&ctx, new).await?;
    Ok((StatusCode::CREATED, Json(sample_item)))
}

/// Get a sample item.
#[utoipa::path(get, path = "/{id}", tag = "sample items",
    params(("id" = SampleItemId, Path, description = "Id of the sample item.")),
    responses((status = 200, description = "The sample item.", body = SampleItem), PathProblems))]
async fn get_sample_item(
    ctx: CallerCtx,
    Path(id): Path<SampleItemId>,
) -> Result<Json<SampleItem>, Problem> {
    let mut tx = ctx.begin().await?;
    let found = store::find(&mut *tx, ctx.account_id(), id).await?;
    tx.commit().await?;
    Ok(Json(found.ok_or(Error::NotFound)?))
}

/// Change a sample item.
#[utoipa::path(patch, path = "/{id}", tag = "sample items",
    params(("id" = SampleItemId, Path, description = "Id of the sample item.")),
    request_body(content = SampleItemChanges, example = json!({ "name": "Apollo 2" })),
    responses((status = 200, description = "The sample item.", body = SampleItem), ChangeProblems))]
async fn change_sample_item(
    ctx: CallerCtx,
    Path(id): Path<SampleItemId>,
    Json(changes): Json<SampleItemChanges>,
) -> Result<Json<SampleItem>, Problem> {
    let mut tx = ctx.begin().await?;
    let found = store::update(&mut *tx, ctx.account_id(), id, &changes.name, ctx.now()).await?;
    let sample_item = found.ok_or(Error::NotFound)?;
    let detail = json!({ "sample_item": id, "api_key": ctx.credential().api_key_id() });
    tx.audit(Event::SampleItemChanged.detail(detail)).await?;
    tx.commit().await?;
    Ok(Json(sample_item))
}

/// Delete a sample item.
#[utoipa::path(delete, path = "/{id}", tag = "sample items",
    params(("id" = SampleItemId, Path, description = "Id of the sample item.")),
    responses((status = 204, description = "The sample item is deleted."), PathProblems))]
async fn delete_sample_item(
    ctx: CallerCtx,
    Path(id): Path<SampleItemId>,
) -> Result<StatusCode, Problem> {
    let mut tx = ctx.begin().await?;
    if !store::delete(&mut *tx, ctx.account_id(), id).await? {
        return Err(Error::NotFound.into());
    }
    let detail = json!({ "sample_item": id, "api_key": ctx.credential().api_key_id() });
    tx.audit(Event::SampleItemDeleted.detail(detail)).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
