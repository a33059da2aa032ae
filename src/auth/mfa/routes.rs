//! `/auth/mfa*`.

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::model::{MfaBegin, MfaConfirm, MfaProof};
use super::service;
use crate::auth::responses::Responses;
use crate::ctx::UserCtx;
use crate::mfa::{self, Enrolment, MfaStatus, Proof, RecoveryCodes};
use crate::state::AppState;
use crate::web::{BodyProblems, Code, Json, Problem, Routes, problems};

/// What turns a second factor on.
pub fn enrolment_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(get_mfa))
        .routes(routes!(begin_totp))
        .routes(routes!(confirm_totp))
}

/// What needs the second factor.
pub fn mfa_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(remove_totp))
        .routes(routes!(renew_recovery_codes))
}

/// Whether my account has a second factor.
#[utoipa::path(get, path = "/mfa", tag = "auth",
    responses((status = 200, description = "How it stands.", body = MfaStatus)))]
async fn get_mfa(ctx: UserCtx) -> Result<Json<MfaStatus>, Problem> {
    Ok(Json(mfa::find_status(&ctx.db, ctx.user_id()).await?))
}

/// Begin to add an authenticator app. It takes the password.
///
/// The secret is shown this once, as text, as an address and as a picture. Sign-ins are not asked
/// for it until a code of it is confirmed, within the hour; beginning again replaces it.
#[utoipa::path(post, path = "/mfa/totp", tag = "auth",
    request_body(content = MfaBegin, example = json!({ "password": "correct horse battery staple" })),
    responses((status = 200, description = "What the app is to be told.", body = Enrolment), BodyProblems, StateProblem))]
async fn begin_totp(
    ctx: UserCtx,
    Json(wanted): Json<MfaBegin>,
) -> Result<Json<Enrolment>, Problem> {
    let begun = service::begin_enrolment(&ctx, wanted.password).await?;
    Ok(Json(begun))
}

/// Turn the second factor on by a code of the app.
///
/// Sign-ins are asked for it from now on, and all other sessions end. The recovery codes are shown
/// this once.
#[utoipa::path(post, path = "/mfa/totp/confirm", tag = "auth",
    request_body(content = MfaConfirm, example = json!({ "code": "492039" })),
    responses((status = 200, description = "It is on.", body = RecoveryCodes), BodyProblems, CodeProblems))]
async fn confirm_totp(
    ctx: UserCtx,
    Json(request): Json<MfaConfirm>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let codes = service::confirm(&ctx, &request.code).await?;
    Ok(Json(codes))
}

/// Turn the second factor off. It takes the password, and a code or a recovery code.
#[utoipa::path(delete, path = "/mfa/totp", tag = "auth",
    request_body(content = MfaProof, example = json!({ "password": "correct horse battery staple", "code": "492039" })),
    responses((status = 204, description = "It is off."), BodyProblems, CodeProblems))]
async fn remove_totp(ctx: UserCtx, Json(request): Json<MfaProof>) -> Result<StatusCode, Problem> {
    let proof = Proof::one_of(request.code, request.recovery_code)?;
    service::turn_off(&ctx, request.password, &proof).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make new recovery codes; the old ones stop working.
///
/// It takes the password, and a code or a recovery code. The new ones are shown this once.
#[utoipa::path(post, path = "/mfa/recovery-codes", tag = "auth",
    request_body(content = MfaProof, example = json!({ "password": "correct horse battery staple", "code": "492039" })),
    responses((status = 200, description = "The new codes.", body = RecoveryCodes), BodyProblems, CodeProblems))]
async fn renew_recovery_codes(
    ctx: UserCtx,
    Json(request): Json<MfaProof>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let proof = Proof::one_of(request.code, request.recovery_code)?;
    let codes = service::renew_codes(&ctx, request.password, &proof).await?;
    Ok(Json(codes))
}

struct StateProblem;

impl IntoResponses for StateProblem {
    fn responses() -> Responses {
        problems(&[Code::Conflict, Code::TooManyAttempts])
    }
}

struct CodeProblems;

impl IntoResponses for CodeProblems {
    fn responses() -> Responses {
        problems(&[Code::Conflict, Code::TooManyAttempts])
    }
}
