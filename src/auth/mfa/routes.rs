//! `/auth/mfa/*` and `/auth/login/mfa`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::Response;
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::model::{MfaAnswer, MfaBegin, MfaConfirm, MfaProof, SignedIn, Transport};
use super::routes::{Responses, body_problems_and};
use super::{browser, cookie, second_factor};
use crate::audit::Origin;
use crate::infra::Db;
use crate::mfa::{self, Enrolment, MfaStatus, Proof, RecoveryCodes};
use crate::state::AppState;
use crate::web::{
    AuthProblems, BodyProblems, Client, Code, Json, Principal, Problem, RequestId, Routes, problems,
};

/// The route below `/auth` of people whose password was right.
pub fn second_step_router() -> Routes<AppState> {
    Routes::new().routes(routes!(login_mfa))
}

/// The routes below `/auth` of people who are signed in.
pub fn mfa_router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(get_mfa))
        .routes(routes!(begin_totp, remove_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(renew_recovery_codes))
}

/// Sign in: the second step, with a code or a recovery code.
///
/// The `mfa_token` is of `/auth/login`. It is good for five tries and one session, whose tokens
/// travel as was asked for with the password.
#[utoipa::path(post, path = "/login/mfa", tag = "auth",
    request_body(content = MfaAnswer, examples(
        ("code" = (summary = "With the authenticator", value = json!({ "mfa_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "code": "492039" }))),
        ("recovery_code" = (summary = "Without it", value = json!({ "mfa_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "recovery_code": "7k2m-p9x4-3qvt-h8wd-5nbz-c6rj" }))))),
    responses(
        (status = 200, description = "A session has begun.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "With the transport `cookie`: the access and the refresh cookie."))),
        SecondStepProblems))]
async fn login_mfa(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    Json(answer): Json<MfaAnswer>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    let is_own_page = cookie::check_sign_in(&state, &headers, Transport::Cookie).is_ok();
    let (transport, pair) = second_factor::log_in(&state, answer, is_own_page, &origin).await?;
    if transport == Transport::Cookie {
        browser::leave(&state, &headers, &origin).await?;
    }
    Ok(cookie::answer(&state, transport, pair))
}

/// Whether my account has a second factor.
#[utoipa::path(get, path = "/mfa", tag = "auth", security(("bearer" = [])),
    responses((status = 200, description = "How it stands.", body = MfaStatus), AuthProblems))]
async fn get_mfa(me: Principal, State(db): State<Db>) -> Result<Json<MfaStatus>, Problem> {
    Ok(Json(mfa::find_status(&db, me.user_id).await?))
}

/// Begin to add an authenticator app. It takes the password.
///
/// The secret is shown this once, as text, as an address and as a picture. Sign-ins are not asked
/// for it until a code of it is confirmed, within the hour; beginning again replaces it.
#[utoipa::path(post, path = "/mfa/totp", tag = "auth", security(("bearer" = [])),
    request_body(content = MfaBegin, example = json!({ "password": "correct horse battery staple" })),
    responses((status = 200, description = "What the app is to be told.", body = Enrolment),
        AuthProblems, BodyProblems, StateProblem))]
async fn begin_totp(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(wanted): Json<MfaBegin>,
) -> Result<Json<Enrolment>, Problem> {
    let origin = Origin::new(&client, &request_id);
    let begun = second_factor::begin_enrolment(&state, me, wanted.password, &origin).await?;
    Ok(Json(begun))
}

/// Turn the second factor on by a code of the app.
///
/// Sign-ins are asked for it from now on, and all other sessions end. The recovery codes are shown
/// this once.
#[utoipa::path(post, path = "/mfa/totp/confirm", tag = "auth", security(("bearer" = [])),
    request_body(content = MfaConfirm, example = json!({ "code": "492039" })),
    responses((status = 200, description = "It is on.", body = RecoveryCodes),
        AuthProblems, BodyProblems, CodeProblems))]
async fn confirm_totp(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(shown): Json<MfaConfirm>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let origin = Origin::new(&client, &request_id);
    let codes = second_factor::confirm(&state, me, &shown.code, &origin).await?;
    Ok(Json(codes))
}

/// Turn the second factor off. It takes the password, and a code or a recovery code.
#[utoipa::path(delete, path = "/mfa/totp", tag = "auth", security(("bearer" = [])),
    request_body(content = MfaProof, example = json!({ "password": "correct horse battery staple", "code": "492039" })),
    responses((status = 204, description = "It is off."), AuthProblems, BodyProblems, CodeProblems))]
async fn remove_totp(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(shown): Json<MfaProof>,
) -> Result<StatusCode, Problem> {
    let origin = Origin::new(&client, &request_id);
    let proof = Proof::one_of(shown.code, shown.recovery_code)?;
    second_factor::turn_off(&state, me, shown.password, &proof, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make new recovery codes; the old ones stop working.
///
/// It takes the password, and a code or a recovery code. The new ones are shown this once.
#[utoipa::path(post, path = "/mfa/recovery-codes", tag = "auth", security(("bearer" = [])),
    request_body(content = MfaProof, example = json!({ "password": "correct horse battery staple", "code": "492039" })),
    responses((status = 200, description = "The new codes.", body = RecoveryCodes),
        AuthProblems, BodyProblems, CodeProblems))]
async fn renew_recovery_codes(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(shown): Json<MfaProof>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let origin = Origin::new(&client, &request_id);
    let proof = Proof::one_of(shown.code, shown.recovery_code)?;
    let codes = second_factor::renew_codes(&state, me, shown.password, &proof, &origin).await?;
    Ok(Json(codes))
}

struct SecondStepProblems;

impl IntoResponses for SecondStepProblems {
    fn responses() -> Responses {
        body_problems_and(&[
            Code::InvalidMfaToken,
            Code::InvalidMfaCode,
            Code::AccountDisabled,
            Code::CsrfRefused,
            Code::TooManyAttempts,
        ])
    }
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
