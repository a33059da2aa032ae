//! `/organisations`. All require a session.

use axum::http::StatusCode;
use http_toolkit::{
    BodyProblems, Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems,
    Routes, TimeCursor, body_problem_groups,
};
use utoipa_axum::routes;

use super::model::{Deletion, NewOrganisation, Organisation, OrganisationChanges};
use super::{service, store};
use crate::audit::{self, Record, RecordFilter};
use crate::ctx::{UserCtx, read_replica};
use crate::ids::AccountId;
use crate::scope::{Exception, Scope};
use crate::state::AppState;
use crate::web::{Code, ReauthenticationProblems};

/// Of the user, in no organisation.
pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_organisations))
        .routes(routes!(restore_organisation))
}

pub fn creation_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(create_organisation))
}

pub fn organisation_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(get_organisation, change_organisation))
}

pub fn deletion_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(delete_organisation))
}

pub fn audit_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(list_organisation_audit_log))
}

body_problem_groups! {
    CreateProblems [Code::SlugTaken, Code::TooManyOrganisations];
    ChangeProblems [Code::SlugTaken];
}

/// List my organisations, newest first.
///
/// Deleted ones are listed for their owners, until they can no longer be restored.
#[utoipa::path(get, path = "", tag = "organisations", params(PageParams),
    responses((status = 200, description = "A page of organisations.", body = Page<Organisation>), QueryProblems))]
async fn list_organisations(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<Organisation>>, Problem> {
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Membership))
        .await?;
    let rows = store::list(&mut *tx, ctx.user_id(), paged.after, paged.limit).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, paged.limit, |organisation| {
        TimeCursor(organisation.created_at, organisation.id.0)
    })))
}

/// Create an organisation.
///
/// You become its owner. How many organisations you can own depends on the plan of your personal account. Reserved
/// slugs, such as `admin`, cannot be taken.
#[utoipa::path(post, path = "", tag = "organisations",
    request_body(content = NewOrganisation, example = json!({ "name": "Acme Inc.", "slug": "acme" })),
    responses((status = 201, description = "The organisation.", body = Organisation), CreateProblems))]
async fn create_organisation(
    ctx: UserCtx,
    Json(new): Json<NewOrganisation>,
) -> Result<(StatusCode, Json<Organisation>), Problem> {
    let organisation = service::create(&ctx, new).await?;
    Ok((StatusCode::CREATED, Json(organisation)))
}

/// Get an organisation.
#[utoipa::path(get, path = "/{id}", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation.")),
    responses((status = 200, description = "The organisation.", body = Organisation)))]
async fn get_organisation(ctx: UserCtx) -> Result<Json<Organisation>, Problem> {
    let mut tx = ctx.begin().await?;
    let found = store::find(&mut *tx, ctx.account_id(), ctx.user_id()).await?;
    tx.commit().await?;
    Ok(Json(found.ok_or(Code::NotFound)?))
}

/// Change the name or the slug of an organisation.
///
/// The former slug leads to the organisation for another 90 days: as `X-Account`, and by a redirect in paths.
#[utoipa::path(patch, path = "/{id}", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation.")),
    request_body(content = OrganisationChanges, example = json!({ "slug": "acme-corp" })),
    responses((status = 200, description = "The organisation.", body = Organisation), ChangeProblems))]
async fn change_organisation(
    ctx: UserCtx,
    Json(changes): Json<OrganisationChanges>,
) -> Result<Json<Organisation>, Problem> {
    Ok(Json(service::update(&ctx, changes).await?))
}

/// Delete an organisation.
///
/// From then on nobody can act for it, and its API keys stop working. An owner can restore it for 30 days; then it
/// is purged. Requires the password and, if you have a second factor, a code or a recovery code. All owners get an
/// email.
#[utoipa::path(delete, path = "/{id}", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation.")),
    request_body(content = Deletion, example = json!({ "password": "correct horse battery staple" })),
    responses((status = 204, description = "The organisation is deleted."), BodyProblems, ReauthenticationProblems))]
async fn delete_organisation(
    ctx: UserCtx,
    Json(deletion): Json<Deletion>,
) -> Result<StatusCode, Problem> {
    service::delete(&ctx, deletion).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Restore a deleted organisation.
///
/// By one of its owners, by its id.
#[utoipa::path(post, path = "/{id}/restore", tag = "organisations",
    params(("id" = AccountId, Path, description = "Id of the organisation.")),
    responses((status = 200, description = "The organisation.", body = Organisation), PathProblems))]
async fn restore_organisation(
    ctx: UserCtx,
    Path(id): Path<AccountId>,
) -> Result<Json<Organisation>, Problem> {
    Ok(Json(service::restore(&ctx, id).await?))
}

/// List the audit log of an organisation, newest first.
#[utoipa::path(get, path = "/{id}/audit-log", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."), PageParams),
    responses((status = 200, description = "A page of audit log entries.", body = Page<Record>), QueryProblems))]
async fn list_organisation_audit_log(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<Record>>, Problem> {
    let own = RecordFilter {
        account_id: Some(ctx.account_id()),
        ..RecordFilter::default()
    };
    let rows = read_replica!(ctx.lagging_reads(), conn => {
        audit::list_records(conn, &own, paged.after, paged.limit)
    })?;
    Ok(Json(Page::cut(rows, paged.limit, Record::moment)))
}
