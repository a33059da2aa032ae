//! `/organisations/{id}/invitations` and `/invitations`.

use axum::http::StatusCode;
use http_toolkit::{
    BodyProblems, Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems,
    Routes, TimeCursor, body_problem_groups, problem_groups,
};
use utoipa_axum::routes;

use super::service;
use crate::ctx::{Ctx, UserCtx};
use crate::ids::InvitationId;
use crate::organisations::model::invitations::{
    Acceptance, Invitation, InvitationPath, InvitationToken, Joined, NewInvitation, OwnInvitation,
};
use crate::organisations::store::invitations as store;
use crate::scope::{Exception, Scope};
use crate::state::AppState;
use crate::users;
use crate::web::Code;

/// Below an organisation.
pub fn invitation_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_invitations))
        .routes(routes!(revoke_invitation))
        .routes(routes!(resend_invitation))
}

/// Below an organisation.
pub fn invite_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(invite_member))
}

/// Of the invited user.
pub fn own_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_own_invitations))
        .routes(routes!(accept_invitation))
        .routes(routes!(decline_own_invitation))
}

/// Authenticated by an emailed link.
pub fn public_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(preview_invitation))
        .routes(routes!(decline_invitation))
}

body_problem_groups! {
    InviteProblems [Code::NoSeats, Code::TooManyInvitations, Code::AlreadyMember];
    AcceptProblems [Code::NoSeats, Code::InvalidInvitation];
    LinkProblems [Code::InvalidInvitation];
}
problem_groups! {
    ResendProblems [Code::NoSeats, Code::TooManyInvitations];
}

/// List the invitations of an organisation, newest first.
///
/// Expired ones are listed until they are purged, 30 days later.
#[utoipa::path(get, path = "/{id}/invitations", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."), PageParams),
    responses((status = 200, description = "A page of invitations.", body = Page<Invitation>), QueryProblems))]
async fn list_invitations(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<Invitation>>, Problem> {
    let mut tx = ctx.begin().await?;
    let rows = store::list(&mut *tx, ctx.account_id(), paged.after, paged.limit).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, paged.limit, |invitation| {
        TimeCursor(invitation.created_at, invitation.id.0)
    })))
}

/// Invite somebody by email.
///
/// The response does not reveal whether the address has an account. Another invitation to the same address replaces
/// the first, whose link stops working. Members and open invitations take seats of the organisation's plan. Your own
/// role must permit everything that the new one permits.
#[utoipa::path(post, path = "/{id}/invitations", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation.")),
    request_body(content = NewInvitation, example = json!({ "email": "grace@example.com", "role": "member" })),
    responses((status = 201, description = "The invitation.", body = Invitation), InviteProblems))]
async fn invite_member(
    ctx: UserCtx,
    Json(new): Json<NewInvitation>,
) -> Result<(StatusCode, Json<Invitation>), Problem> {
    let invitation = service::invite(&ctx, new).await?;
    Ok((StatusCode::CREATED, Json(invitation)))
}

/// Revoke an invitation.
#[utoipa::path(delete, path = "/{id}/invitations/{invitation_id}", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."),
        ("invitation_id" = InvitationId, Path, description = "Id of the invitation.")),
    responses((status = 204, description = "It can no longer be accepted."), PathProblems))]
async fn revoke_invitation(
    ctx: UserCtx,
    Path(path): Path<InvitationPath>,
) -> Result<StatusCode, Problem> {
    service::revoke(&ctx, path.invitation_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send the email of an invitation again.
///
/// Earlier links stop working when it is sent, and the invitation has its whole time again.
#[utoipa::path(post, path = "/{id}/invitations/{invitation_id}/resend", tag = "organisations",
    params(("id" = String, Path, description = "Id or slug of the organisation."),
        ("invitation_id" = InvitationId, Path, description = "Id of the invitation.")),
    responses((status = 202, description = "The email is sent."), PathProblems, ResendProblems))]
async fn resend_invitation(
    ctx: UserCtx,
    Path(path): Path<InvitationPath>,
) -> Result<StatusCode, Problem> {
    service::resend(&ctx, path.invitation_id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// List my invitations, newest first.
///
/// Those to your verified address that can be accepted.
#[utoipa::path(get, path = "", tag = "organisations", params(PageParams),
    responses((status = 200, description = "A page of invitations.", body = Page<OwnInvitation>), QueryProblems))]
async fn list_own_invitations(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<OwnInvitation>>, Problem> {
    let (after, limit) = (paged.after, paged.limit);
    let own = users::find_verified_address(&ctx.db, ctx.user_id()).await?;
    let own = own.ok_or(Code::Unauthenticated)?;
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Invitation))
        .await?;
    let rows = store::list_of_address(&mut *tx, &own, ctx.now(), after, limit).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, limit, |invitation| {
        TimeCursor(invitation.created_at, invitation.id.0)
    })))
}

/// Accept an invitation.
///
/// By the token of the link in the email, or by the id of one of your invitations. Your verified address must be the
/// invited one. Invitations that are unknown, expired, revoked, used or for another address have the same response.
#[utoipa::path(post, path = "/accept", tag = "organisations",
    request_body(content = Acceptance, examples(
        ("token" = (summary = "By the token", value = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" }))),
        ("id" = (summary = "By the id", value = json!({ "id": "01980b6e-7c00-7000-8000-000000000003" }))))),
    responses((status = 200, description = "You are a member.", body = Joined), AcceptProblems))]
async fn accept_invitation(
    ctx: UserCtx,
    Json(acceptance): Json<Acceptance>,
) -> Result<Json<Joined>, Problem> {
    Ok(Json(service::accept(&ctx, acceptance).await?))
}

/// Decline one of my invitations.
///
/// The organisation's further invitations to your address are not sent.
#[utoipa::path(delete, path = "/{id}", tag = "organisations",
    params(("id" = InvitationId, Path, description = "Id of the invitation.")),
    responses((status = 204, description = "It can no longer be accepted."), PathProblems))]
async fn decline_own_invitation(
    ctx: UserCtx,
    Path(id): Path<InvitationId>,
) -> Result<StatusCode, Problem> {
    service::decline_own(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show what an invitation is for.
///
/// By the token of the link in the email, without a sign-in.
#[utoipa::path(post, path = "/preview", tag = "organisations",
    request_body(content = InvitationToken, example = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 200, description = "The invitation.", body = OwnInvitation), LinkProblems))]
async fn preview_invitation(
    ctx: Ctx,
    Json(link): Json<InvitationToken>,
) -> Result<Json<OwnInvitation>, Problem> {
    Ok(Json(service::preview(&ctx, link.token.hash()).await?))
}

/// Decline an invitation.
///
/// By the token of the link in the email, without a sign-in. The organisation's further invitations to the address
/// are not sent.
#[utoipa::path(post, path = "/decline", tag = "organisations",
    request_body(content = InvitationToken, example = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 204, description = "It can no longer be accepted."), LinkProblems, BodyProblems))]
async fn decline_invitation(
    ctx: Ctx,
    Json(link): Json<InvitationToken>,
) -> Result<StatusCode, Problem> {
    service::decline_by_link(&ctx, link.token.hash()).await?;
    Ok(StatusCode::NO_CONTENT)
}
