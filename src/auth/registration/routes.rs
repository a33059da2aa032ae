//! `/auth/register`, `/auth/verify-email` and `/auth/resend-verification`.

use axum::http::StatusCode;
use utoipa_axum::routes;

use super::jobs::SendVerification;
use super::model::{AddressProof, NewAccount};
use super::service;
use crate::auth::links::LetterRequest;
use crate::auth::responses::LinkProblems;
use crate::ctx::Ctx;
use crate::infra::LimitCheck;
use crate::jobs;
use crate::state::AppState;
use crate::web::{BodyProblems, Json, Problem, Routes, allows};

pub fn registration_routes() -> Routes<AppState> {
    Routes::new().routes(routes!(register))
}

pub fn verification_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(verify_email))
        .routes(routes!(resend_verification))
}

/// Sign up.
///
/// The answer is the same whether or not the address is known; the letter tells. A new account can
/// sign in once the link in its letter was followed.
#[utoipa::path(post, path = "/register", tag = "auth",
    request_body(content = NewAccount, example = json!({
        "email": "ada@example.com", "password": "correct horse battery staple", "first_name": "Ada" })),
    responses((status = 202, description = "A letter is on its way."), BodyProblems))]
async fn register(ctx: Ctx, Json(new): Json<NewAccount>) -> Result<StatusCode, Problem> {
    service::register(&ctx, new).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Verify an address by the token in its email. A token works once.
///
/// Where several sign-ups with different passwords wait for the address, `password` says which one is
/// confirmed; the others are deleted. Without it the reply is 422 with `password_required` for that field.
#[utoipa::path(post, path = "/verify-email", tag = "auth",
    request_body(content = AddressProof, examples(
        ("link" = (summary = "With the link alone", value = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" }))),
        ("password" = (summary = "With the password", value = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ",
            "password": "correct horse battery staple" }))))),
    responses((status = 204, description = "The address is verified."), LinkProblems))]
async fn verify_email(ctx: Ctx, Json(proof): Json<AddressProof>) -> Result<StatusCode, Problem> {
    service::verify_email(&ctx, proof).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a new letter with a link. Earlier links stop working when it is sent.
///
/// The answer is the same whether or not the address is known.
#[utoipa::path(post, path = "/resend-verification", tag = "auth",
    request_body(content = LetterRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "If the address waits to be verified, a letter is on its way."), BodyProblems))]
async fn resend_verification(
    ctx: Ctx,
    Json(wanted): Json<LetterRequest>,
) -> Result<StatusCode, Problem> {
    // The same for any address, and never reported, as for a reset.
    let address = ctx.limiter.hashed_key(wanted.email.as_str());
    let check = LimitCheck::spend(ctx.limits.resend_address, address);
    if allows(&ctx.limiter, &[check]).await {
        // Whether there is anything to send is found out when the job runs, so that the answer takes
        // as long either way.
        let job = SendVerification::to(wanted.email);
        jobs::enqueue(&ctx.db, &job, Some(&job.key())).await?;
    }
    Ok(StatusCode::ACCEPTED)
}
