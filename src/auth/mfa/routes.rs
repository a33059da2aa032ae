//! `/auth/mfa*`.

use axum::http::StatusCode;
use http_toolkit::{BodyProblems, Json, Problem, Routes};
use utoipa_axum::routes;

use super::model::{MfaBegin, MfaConfirm, MfaProof};
use super::service;
use crate::auth::credentials::ReauthProof;
use crate::ctx::UserCtx;
use crate::mfa::{self, Enrolment, MfaStatus, RecoveryCodes};
use crate::state::AppState;
use crate::web::ReauthenticationProblems;

/// Open to users who have yet to turn on a required second factor.
pub fn enrolment_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(get_mfa))
        .routes(routes!(begin_totp))
        .routes(routes!(confirm_totp))
}

pub fn mfa_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(remove_totp))
        .routes(routes!(renew_recovery_codes))
}

/// Get the second factor status of my account.
#[utoipa::path(get, path = "/mfa", tag = "auth",
    responses((status = 200, description = "The status.", body = MfaStatus)))]
async fn get_mfa(ctx: UserCtx) -> Result<Json<MfaStatus>, Problem> {
    Ok(Json(mfa::find_status(&ctx.db, ctx.user_id()).await?))
}

/// Start adding an authenticator app.
///
/// Requires the password. The secret is returned only once, as text, as a URL and as a QR code. Sign-in does
/// not ask for codes until one is confirmed, within the hour; starting again replaces the secret.
#[utoipa::path(post, path = "/mfa/totp", tag = "auth",
    request_body(content = MfaBegin, example = json!({ "password": "correct horse battery staple" })),
    responses((status = 200, description = "The secret for the app.", body = Enrolment), BodyProblems, ReauthenticationProblems))]
async fn begin_totp(
    ctx: UserCtx,
    Json(request): Json<MfaBegin>,
) -> Result<Json<Enrolment>, Problem> {
    Ok(Json(
        service::begin_enrolment(&ctx, request.password).await?,
    ))
}

/// Turn on the second factor with a code of the app.
///
/// Sign-in asks for a code from then on, and all other sessions end. The recovery codes are returned only once.
#[utoipa::path(post, path = "/mfa/totp/confirm", tag = "auth",
    request_body(content = MfaConfirm, example = json!({ "code": "492039" })),
    responses((status = 200, description = "The second factor is on; these are its recovery codes.", body = RecoveryCodes), BodyProblems, ReauthenticationProblems))]
async fn confirm_totp(
    ctx: UserCtx,
    Json(request): Json<MfaConfirm>,
) -> Result<Json<RecoveryCodes>, Problem> {
    Ok(Json(service::confirm(&ctx, &request.code).await?))
}

/// Turn off the second factor.
///
/// Requires the password, and a code or a recovery code.
#[utoipa::path(delete, path = "/mfa/totp", tag = "auth",
    request_body(content = MfaProof, example = json!({ "password": "correct horse battery staple", "code": "492039" })),
    responses((status = 204, description = "The second factor is off."), BodyProblems, ReauthenticationProblems))]
async fn remove_totp(ctx: UserCtx, Json(request): Json<MfaProof>) -> Result<StatusCode, Problem> {
    let MfaProof {
        password,
        code,
        recovery_code,
    } = request;
    let both = ReauthProof::of_both_factors(password, code, recovery_code)?;
    service::turn_off(&ctx, both).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace the recovery codes.
///
/// The old codes stop working. Requires the password, and a code or a recovery code. The new codes are returned
/// only once.
#[utoipa::path(post, path = "/mfa/recovery-codes", tag = "auth",
    request_body(content = MfaProof, example = json!({ "password": "correct horse battery staple", "code": "492039" })),
    responses((status = 200, description = "The new recovery codes.", body = RecoveryCodes), BodyProblems, ReauthenticationProblems))]
async fn renew_recovery_codes(
    ctx: UserCtx,
    Json(request): Json<MfaProof>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let MfaProof {
        password,
        code,
        recovery_code,
    } = request;
    let both = ReauthProof::of_both_factors(password, code, recovery_code)?;
    Ok(Json(service::renew_codes(&ctx, both).await?))
}
