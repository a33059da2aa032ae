//! `/auth/forgot-password`, `/auth/reset-password`, `/auth/undo-email-change`, `/users/me/password` and
//! `/users/me/email`.

use axum::http::StatusCode;
use http_toolkit::{BodyProblems, Json, Problem, Routes, allows};
use rate_limit::LimitCheck;
use utoipa_axum::routes;

use super::jobs::SendReset;
use super::model::{EmailChange, EmailUndo, PasswordChange, PasswordReset};
use super::{email_change, service};
use crate::auth::links::EmailRequest;
use crate::auth::responses::problem_groups;
use crate::ctx::{Ctx, UserCtx};
use crate::state::AppState;
use crate::users;
use crate::web::ReauthenticationProblems;

pub fn forgotten_password_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(forgot_password))
}

/// Authenticated by an emailed link.
pub fn recovery_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(reset_password))
        .routes(routes!(undo_email_change))
}

/// Below `/users`.
pub fn credential_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(change_password))
        .routes(routes!(change_email))
}

problem_groups! {
    LinkProblems [InvalidToken];
    UndoProblems [InvalidToken, Conflict];
}

/// Request a password reset email.
///
/// Earlier links stop working when it is sent. The response does not reveal whether the address has an account.
#[utoipa::path(post, path = "/forgot-password", tag = "auth",
    request_body(content = EmailRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "An email is sent if the address has an account."), BodyProblems))]
async fn forgot_password(
    ctx: Ctx,
    Json(request): Json<EmailRequest>,
) -> Result<StatusCode, Problem> {
    // The same response for any address, also beyond the limit: a stranger who used it up must not stop the
    // owner, whose last email has a working link.
    let address = ctx.limiter.hashed_key(request.email.as_str());
    let check = LimitCheck::spend(ctx.limits.reset_address, address);
    if allows(&ctx.limiter, &[check]).await {
        // The job finds out whether there is an account. It issues no link if the credentials change before.
        let found = users::find_credentials(&ctx.db, &request.email).await?;
        let version = found.map(|found| found.version).unwrap_or_default();
        let job = SendReset::to(request.email, version);
        job_queue::enqueue_urgent(&ctx.db, &job, Some(&job.key())).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

/// Reset a password.
///
/// Takes the token of the link in the email, which works once. All sessions end.
#[utoipa::path(post, path = "/reset-password", tag = "auth",
    request_body(content = PasswordReset, example = json!({
        "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The password has been set."), LinkProblems))]
async fn reset_password(ctx: Ctx, Json(reset): Json<PasswordReset>) -> Result<StatusCode, Problem> {
    service::reset_password(&ctx, reset).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Undo an email address change.
///
/// Takes the token of the link in the email to the old address, which works once. Restores that address and sets
/// a new password. All sessions end, and API keys, a second factor and recovery codes that were added since the
/// change was requested are revoked. Links of earlier changes still work afterwards, those of later ones do not.
#[utoipa::path(post, path = "/undo-email-change", tag = "auth",
    request_body(content = EmailUndo, example = json!({
        "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The address has been restored and the password set."), UndoProblems))]
async fn undo_email_change(ctx: Ctx, Json(undo): Json<EmailUndo>) -> Result<StatusCode, Problem> {
    email_change::undo_change(&ctx, undo).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change my password.
///
/// Requires the current password and, if the account has a second factor, a code or a recovery code. All other
/// sessions end.
#[utoipa::path(post, path = "/me/password", tag = "users",
    request_body(content = PasswordChange, examples(
        ("password" = (summary = "With the password", value = json!({
            "current_password": "correct horse battery staple", "new_password": "staple battery horse correct" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "current_password": "correct horse battery staple", "code": "492039",
            "new_password": "staple battery horse correct" }))))),
    responses((status = 204, description = "The password has been changed."), BodyProblems, ReauthenticationProblems))]
async fn change_password(
    ctx: UserCtx,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    service::change_password(&ctx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change my email address.
///
/// Requires the password and, if the account has a second factor, a code or a recovery code. An email asks the
/// owner of the new address to confirm it with `/auth/verify-email`, and a notice goes to the old address, which
/// stays in use until then. After the change the old address gets a link that undoes it.
#[utoipa::path(post, path = "/me/email", tag = "users",
    request_body(content = EmailChange, examples(
        ("password" = (summary = "With the password", value = json!({
            "email": "countess@example.com", "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "email": "countess@example.com", "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 202, description = "An email is sent if the address is available."), BodyProblems, ReauthenticationProblems))]
async fn change_email(
    ctx: UserCtx,
    Json(change): Json<EmailChange>,
) -> Result<StatusCode, Problem> {
    email_change::request_change(&ctx, change).await?;
    Ok(StatusCode::ACCEPTED)
}
