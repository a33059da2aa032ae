//! `/organisations/{id}/members`, `…/membership` and `…/transfer`.

use axum::http::StatusCode;
use http_toolkit::{
    BodyProblems, Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems,
    Routes, TimeCursor, problem_groups,
};
use utoipa_axum::routes;

use super::service;
use crate::ctx::UserCtx;
use crate::ids::UserId;
use crate::organisations::model::Transfer;
use crate::organisations::model::members::{Member, MemberPath, RoleChange};
use crate::organisations::store::members as store;
use crate::state::AppState;
use crate::web::{Code, ReauthenticationProblems};

pub fn member_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_members))
        .routes(routes!(change_member_role, remove_member))
}

pub fn membership_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(leave_organisation))
}

pub fn transfer_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(transfer_organisation))
}

problem_groups! {
    /// The organisation would have no owner.
    LastOwnerProblem [Code::LastOwner];
}

/// List the members of an organisation, in the order in which they joined.
#[utoipa::path(get, path = "/{id}/members", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."), PageParams),
    responses((status = 200, description = "A page of members.", body = Page<Member>), QueryProblems))]
async fn list_members(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<Member>>, Problem> {
    let mut tx = ctx.begin().await?;
    let (after, limit) = (paged.after, paged.limit);
    let rows = store::list(&mut *tx, ctx.account_id(), after, limit, &ctx.avatar_root).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, paged.limit, |member| {
        TimeCursor(member.created_at, member.user_id.0)
    })))
}

/// Change the role of a member.
///
/// Takes effect with the next request of the member. Your own role must permit everything that the present and the
/// new role permit. At least one owner stays.
#[utoipa::path(patch, path = "/{id}/members/{user_id}", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."),
        ("user_id" = UserId, Path, description = "Id of the member.")),
    request_body(content = RoleChange, example = json!({ "role": "admin" })),
    responses((status = 200, description = "The member.", body = Member), PathProblems, BodyProblems, LastOwnerProblem))]
async fn change_member_role(
    ctx: UserCtx,
    Path(path): Path<MemberPath>,
    Json(change): Json<RoleChange>,
) -> Result<Json<Member>, Problem> {
    let member = service::change_role(&ctx, path.user_id, change.role).await?;
    Ok(Json(member))
}

/// Remove a member.
///
/// The next request of the member for the organisation is refused. API keys that they created for it keep working
/// and are listed with `creator_is_member` false. Your own role must permit everything that theirs permits.
#[utoipa::path(delete, path = "/{id}/members/{user_id}", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."),
        ("user_id" = UserId, Path, description = "Id of the member.")),
    responses((status = 204, description = "The user is no longer a member."), PathProblems, LastOwnerProblem))]
async fn remove_member(ctx: UserCtx, Path(path): Path<MemberPath>) -> Result<StatusCode, Problem> {
    service::remove(&ctx, path.user_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Leave an organisation.
///
/// The last owner cannot leave.
#[utoipa::path(delete, path = "/{id}/membership", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation.")),
    responses((status = 204, description = "You are no longer a member."), LastOwnerProblem))]
async fn leave_organisation(ctx: UserCtx) -> Result<StatusCode, Problem> {
    service::leave(&ctx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Transfer an organisation to another member.
///
/// The member becomes an owner, and you an administrator. Requires the password and, if you have a second factor, a
/// code or a recovery code. Both get an email.
#[utoipa::path(post, path = "/{id}/transfer", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation.")),
    request_body(content = Transfer, example = json!({
        "user_id": "01980b6e-7c00-7000-8000-000000000002", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The member is an owner."), BodyProblems, ReauthenticationProblems))]
async fn transfer_organisation(
    ctx: UserCtx,
    Json(transfer): Json<Transfer>,
) -> Result<StatusCode, Problem> {
    service::transfer(&ctx, transfer).await?;
    Ok(StatusCode::NO_CONTENT)
}
