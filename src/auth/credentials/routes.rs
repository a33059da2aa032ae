//! `/auth/forgot-password`, `/auth/reset-password`, `/auth/undo-email-change`, `/users/me/password` and
//! `/users/me/email`.

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::jobs::SendReset;
use super::model::{EmailChange, EmailUndo, PasswordChange, PasswordReset};
use super::{email_change, service};
use crate::auth::links::LetterRequest;
use crate::auth::responses::{LinkProblems, Responses, body_problems_and};
use crate::ctx::{Ctx, UserCtx};
use crate::infra::LimitCheck;
use crate::jobs;
use crate::state::AppState;
use crate::users;
use crate::web::{BodyProblems, Code, Json, Problem, ReauthenticationProblems, Routes, allows};

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

/// Ask for a letter with a link that sets a new password. Earlier links stop working when it is sent.
///
/// The answer is the same whether or not the address is known.
#[utoipa::path(post, path = "/forgot-password", tag = "auth",
    request_body(content = LetterRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "If there is such an account, a letter is on its way."), BodyProblems))]
async fn forgot_password(
    ctx: Ctx,
    Json(wanted): Json<LetterRequest>,
) -> Result<StatusCode, Problem> {
    // The same for any address, and never reported: a stranger who has spent the limit must not turn the
    // owner away. The last email is in the mailbox, and its link works.
    let address = ctx.limiter.hashed_key(wanted.email.as_str());
    let check = LimitCheck::spend(ctx.limits.reset_address, address);
    if allows(&ctx.limiter, &[check]).await {
        // As for a new verification: the job finds out whether there is anybody to write to. It issues
        // nothing if the account's credentials change before it runs.
        let version = users::find_credentials_version(&ctx.db, &wanted.email).await?;
        let job = SendReset::to(wanted.email, version);
        jobs::enqueue_urgent(&ctx.db, &job, Some(&job.key())).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

/// Set a new password by the token in the letter. A token works once; all sessions end.
#[utoipa::path(post, path = "/reset-password", tag = "auth",
    request_body(content = PasswordReset, example = json!({
        "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The password is set."), LinkProblems))]
async fn reset_password(ctx: Ctx, Json(reset): Json<PasswordReset>) -> Result<StatusCode, Problem> {
    service::reset_password(&ctx, reset).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Undo a change of the address, by the token in the email to the address before.
///
/// It restores that address and sets a new password. All sessions end, and API keys, a second factor and
/// recovery codes that were added since the change was asked for are revoked. A token works once; those
/// of earlier changes of the address still work afterwards, those of later ones do not.
#[utoipa::path(post, path = "/undo-email-change", tag = "auth",
    request_body(content = EmailUndo, example = json!({
        "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The address is restored and the password is set."), UndoProblems))]
async fn undo_email_change(ctx: Ctx, Json(undo): Json<EmailUndo>) -> Result<StatusCode, Problem> {
    email_change::undo_change(&ctx, undo).await?;
    Ok(StatusCode::NO_CONTENT)
}

struct UndoProblems;

impl IntoResponses for UndoProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidToken, Code::Conflict])
    }
}

/// Change my password. It takes the present one; all other sessions end.
///
/// It also takes a code or a recovery code, where the account has a second factor.
#[utoipa::path(post, path = "/me/password", tag = "users",
    request_body(content = PasswordChange, examples(
        ("password" = (summary = "With the password", value = json!({
            "current_password": "correct horse battery staple", "new_password": "staple battery horse correct" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "current_password": "correct horse battery staple", "code": "492039",
            "new_password": "staple battery horse correct" }))))),
    responses((status = 204, description = "The password is changed."), BodyProblems, ReauthenticationProblems))]
async fn change_password(
    ctx: UserCtx,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    service::change_password(&ctx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change my address.
///
/// An email asks the new one to confirm it, by `/auth/verify-email`; until then the old one stays, and is
/// told. It takes the password and, where the account has a second factor, a code or a recovery code.
/// Once the change takes effect, an email to the old address has a link that undoes it.
#[utoipa::path(post, path = "/me/email", tag = "users",
    request_body(content = EmailChange, examples(
        ("password" = (summary = "With the password", value = json!({
            "email": "countess@example.com", "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "email": "countess@example.com", "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 202, description = "A letter is on its way, if the address is free."), BodyProblems, ReauthenticationProblems))]
async fn change_email(
    ctx: UserCtx,
    Json(change): Json<EmailChange>,
) -> Result<StatusCode, Problem> {
    email_change::request_change(&ctx, change).await?;
    Ok(StatusCode::ACCEPTED)
}
