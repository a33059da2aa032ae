//! `/auth/login`, `/auth/login/mfa` and `/auth/unlock`.

use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use http_toolkit::{Json, Problem, Routes};
use utoipa_axum::routes;

use super::model::{MfaAnswer, MfaChallenge, Outcome, SignIn};
use super::{second_factor, service};
use crate::auth::links::EmailProof;
use crate::auth::responses::problem_groups;
use crate::auth::sessions::{self, SignedIn, Transport};
use crate::ctx::Ctx;
use crate::state::AppState;

pub fn sign_in_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(login))
        .routes(routes!(login_mfa))
        .routes(routes!(unlock))
}

problem_groups! {
    LinkProblems [InvalidToken];
    LoginProblems [InvalidCredentials, TooManyAttempts, EmailNotVerified, AccountDisabled, AccountDeletionPending, CsrfRefused];
    SecondStepProblems [InvalidMfaToken, InvalidMfaCode, AccountDisabled, CsrfRefused, TooManyAttempts];
}

/// Sign in.
///
/// For an account with a second factor the response is a token for `/auth/login/mfa` instead of a session. With
/// `"transport": "cookie"` the tokens are set as cookies and the body has the CSRF token; pages of other
/// sites are rejected, and the current session of the browser ends.
#[utoipa::path(post, path = "/login", tag = "auth",
    request_body(content = SignIn, examples(
        ("bearer" = (summary = "For programs", value = json!({ "email": "ada@example.com", "password": "correct horse battery staple" }))),
        ("cookie" = (summary = "For browsers", value = json!({ "email": "ada@example.com", "password": "correct horse battery staple", "transport": "cookie" }))))),
    responses(
        (status = 200, description = "The session has started.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "With transport `cookie`: the access cookie and the refresh cookie.")),
            examples(
                ("bearer" = (summary = "For programs", value = json!({ "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 900, "refresh_token": "AZgLbnwAcACAAD8qUdbJsQAAAAFtRjlCNWY0MUpxTTBROHIyWnQ3dVl3WGNWYk5hU2RGZ21GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "refresh_expires_in": 1_209_600 }))),
                ("cookie" = (summary = "For browsers", value = json!({ "csrf_token": "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "expires_in": 900, "refresh_expires_in": 1_209_600 }))))),
        (status = 202, description = "The password is correct; a second factor is required.", body = MfaChallenge),
        LoginProblems))]
async fn login(
    ctx: Ctx,
    headers: HeaderMap,
    Json(sign_in): Json<SignIn>,
) -> Result<Response, Problem> {
    let transport = sign_in.transport;
    sessions::check_sign_in(&ctx, &headers, transport)?;
    let pair = match service::log_in(&ctx, sign_in).await? {
        Outcome::Session(pair) => pair,
        Outcome::SecondFactor(challenge) => {
            return Ok((StatusCode::ACCEPTED, Json(challenge)).into_response());
        }
    };
    if transport == Transport::Cookie {
        sessions::end_browser_session(&ctx, &headers).await?;
    }
    Ok(sessions::token_response(&ctx, transport, pair))
}

/// Complete a sign-in with a second factor.
///
/// Takes the `mfa_token` of `/auth/login`, which allows five attempts, and a code or a recovery code. The
/// transport of the tokens is the one requested with the password.
#[utoipa::path(post, path = "/login/mfa", tag = "auth",
    request_body(content = MfaAnswer, examples(
        ("code" = (summary = "With an authenticator app", value = json!({ "mfa_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "code": "492039" }))),
        ("recovery_code" = (summary = "With a recovery code", value = json!({ "mfa_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "recovery_code": "7k2m-p9x4-3qvt-h8wd-5nbz-c6rj" }))))),
    responses(
        (status = 200, description = "The session has started.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "With transport `cookie`: the access cookie and the refresh cookie."))),
        SecondStepProblems))]
async fn login_mfa(
    ctx: Ctx,
    headers: HeaderMap,
    Json(request): Json<MfaAnswer>,
) -> Result<Response, Problem> {
    let is_own_page = sessions::check_sign_in(&ctx, &headers, Transport::Cookie).is_ok();
    let (transport, pair) = second_factor::log_in(&ctx, request, is_own_page).await?;
    if transport == Transport::Cookie {
        sessions::end_browser_session(&ctx, &headers).await?;
    }
    Ok(sessions::token_response(&ctx, transport, pair))
}

/// Unlock sign-in for this client.
///
/// Takes the token of the link in the email that is sent after too many wrong passwords. A token works once.
#[utoipa::path(post, path = "/unlock", tag = "auth",
    request_body(content = EmailProof, example = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 204, description = "This client can try to sign in again."), LinkProblems))]
async fn unlock(ctx: Ctx, Json(proof): Json<EmailProof>) -> Result<StatusCode, Problem> {
    service::unlock(&ctx, &proof.token).await?;
    Ok(StatusCode::NO_CONTENT)
}
