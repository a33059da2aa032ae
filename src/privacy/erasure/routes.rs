//! `DELETE /users/me` and `/auth/cancel-deletion`.

use axum::http::StatusCode;
use http_toolkit::{Json, Problem, Routes, body_problem_groups};
use utoipa_axum::routes;

use super::model::{AccountDeletion, DeletionCancellation, PendingDeletion};
use super::service;
use crate::ctx::{Ctx, UserCtx};
use crate::state::AppState;
use crate::web::Code;

/// Of the user.
pub fn deletion_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(delete_me))
}

/// Of somebody who cannot sign in.
pub fn cancellation_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(cancel_deletion))
}

body_problem_groups! {
    DeletionProblems [Code::Conflict, Code::TooManyAttempts, Code::LastAdmin, Code::LastOwner];
    CancellationProblems [
        Code::InvalidCredentials,
        Code::TooManyAttempts,
        Code::EmailNotVerified,
        Code::AccountDisabled,
        Code::Conflict
    ];
}

/// Delete my account.
///
/// All sessions end, your API keys are revoked and your subscription ends at once. You get an email with the time at which
/// the account is erased, 30 days later, and another one three days before; until then `POST /auth/cancel-deletion` cancels
/// it. Requires the password and, if you have a second factor, a code or a recovery code. Transfer or delete the
/// organisations first of which you are the last owner.
#[utoipa::path(delete, path = "/me", tag = "users",
    request_body(content = AccountDeletion, example = json!({ "password": "correct horse battery staple" })),
    responses((status = 200, description = "The account is going to be deleted.", body = PendingDeletion), DeletionProblems))]
async fn delete_me(
    ctx: UserCtx,
    Json(deletion): Json<AccountDeletion>,
) -> Result<Json<PendingDeletion>, Problem> {
    Ok(Json(service::request(&ctx, deletion).await?))
}

/// Cancel the deletion of an account.
///
/// Signing in to an account whose deletion is pending is refused with `account_deletion_pending`. Takes the credentials
/// that a sign-in takes, in one request. Sign in again afterwards; API keys stay revoked and a subscription stays ended.
/// Without effect for an account that is not going to be deleted.
#[utoipa::path(post, path = "/cancel-deletion", tag = "auth",
    request_body(content = DeletionCancellation, example = json!({ "email": "ada@example.com", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The account is not going to be deleted."), CancellationProblems))]
async fn cancel_deletion(
    ctx: Ctx,
    Json(request): Json<DeletionCancellation>,
) -> Result<StatusCode, Problem> {
    service::cancel(&ctx, request).await?;
    Ok(StatusCode::NO_CONTENT)
}
