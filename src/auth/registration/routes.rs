//! `/auth/register`, `/auth/verify-email` and `/auth/resend-verification`.

use axum::http::StatusCode;
use http_toolkit::{BodyProblems, Json, Problem, Routes, allows};
use rate_limit::LimitCheck;
use utoipa_axum::routes;

use super::jobs::SendVerification;
use super::model::{AddressProof, NewAccount};
use super::service;
use crate::auth::links::EmailRequest;
use crate::auth::responses::problem_groups;
use crate::ctx::Ctx;
use crate::state::AppState;

pub fn registration_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(register))
}

pub fn verification_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(verify_email))
        .routes(routes!(resend_verification))
}

problem_groups! {
    LinkProblems [InvalidToken];
}

/// Sign up.
///
/// The response does not reveal whether the address has an account; the email does. A new account can sign in
/// after its address is verified.
#[utoipa::path(post, path = "/register", tag = "auth",
    request_body(content = NewAccount, example = json!({
        "email": "ada@example.com", "password": "correct horse battery staple", "first_name": "Ada" })),
    responses((status = 202, description = "An email is sent to the address."), BodyProblems))]
async fn register(ctx: Ctx, Json(new): Json<NewAccount>) -> Result<StatusCode, Problem> {
    service::register(&ctx, new).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Verify an email address.
///
/// Takes the token of the link in the email, which works once. If several sign-ups with different passwords are
/// pending for the address, `password` selects the one to confirm and the others are deleted; without it the
/// response is 422 with `password_required` for that field.
#[utoipa::path(post, path = "/verify-email", tag = "auth",
    request_body(content = AddressProof, examples(
        ("link" = (summary = "With the token only", value = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" }))),
        ("password" = (summary = "With the password", value = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ",
            "password": "correct horse battery staple" }))))),
    responses((status = 204, description = "The address has been verified."), LinkProblems))]
async fn verify_email(ctx: Ctx, Json(proof): Json<AddressProof>) -> Result<StatusCode, Problem> {
    service::verify_email(&ctx, proof).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Resend the verification email.
///
/// Earlier links stop working when it is sent. The response does not reveal whether the address has an account.
#[utoipa::path(post, path = "/resend-verification", tag = "auth",
    request_body(content = EmailRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "An email is sent if the address has an unverified account."), BodyProblems))]
async fn resend_verification(
    ctx: Ctx,
    Json(request): Json<EmailRequest>,
) -> Result<StatusCode, Problem> {
    // The same response for any address, also beyond the limit, as for a reset.
    let address = ctx.limiter.hashed_key(request.email.as_str());
    let check = LimitCheck::spend(ctx.limits.resend_address, address);
    if allows(&ctx.limiter, &[check]).await {
        // The job finds out whether there is anything to send, so that response times do not differ.
        let job = SendVerification::to(request.email);
        job_queue::enqueue(&ctx.db, &job, Some(&job.key())).await?;
    }
    Ok(StatusCode::ACCEPTED)
}
