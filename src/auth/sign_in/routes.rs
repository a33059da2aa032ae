//! `/auth/login`, `/auth/login/mfa` and `/auth/unlock`.

use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::model::{MfaAnswer, MfaChallenge, Outcome, SignIn};
use super::{second_factor, service};
use crate::auth::links::EmailProof;
use crate::auth::responses::{LinkProblems, Responses, body_problems_and};
use crate::auth::sessions::{self, SignedIn, Transport};
use crate::ctx::Ctx;
use crate::state::AppState;
use crate::web::{Code, Json, Problem, Routes};

pub fn sign_in_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(login))
        .routes(routes!(login_mfa))
        .routes(routes!(unlock))
}

/// Sign in.
///
/// An account with a second factor gets a token for `/auth/login/mfa` instead of a session. With
/// `"transport": "cookie"` the tokens are set as cookies and the answer holds the CSRF token; pages
/// of other sites are refused, and the session that the browser was in ends.
#[utoipa::path(post, path = "/login", tag = "auth",
    request_body(content = SignIn, examples(
        ("bearer" = (summary = "A program", value = json!({ "email": "ada@example.com", "password": "correct horse battery staple" }))),
        ("cookie" = (summary = "A browser", value = json!({ "email": "ada@example.com", "password": "correct horse battery staple", "transport": "cookie" }))))),
    responses(
        (status = 200, description = "A session has begun.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "With the transport `cookie`: the access and the refresh cookie.")),
            examples(
                ("bearer" = (summary = "To a program", value = json!({ "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 900, "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "refresh_expires_in": 1_209_600 }))),
                ("cookie" = (summary = "To a browser", value = json!({ "csrf_token": "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "expires_in": 900, "refresh_expires_in": 1_209_600 }))))),
        (status = 202, description = "The password is right; a second factor is asked for.", body = MfaChallenge),
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
    ctx: Ctx,
    headers: HeaderMap,
    Json(answer): Json<MfaAnswer>,
) -> Result<Response, Problem> {
    let is_own_page = sessions::check_sign_in(&ctx, &headers, Transport::Cookie).is_ok();
    let (transport, pair) = second_factor::log_in(&ctx, answer, is_own_page).await?;
    if transport == Transport::Cookie {
        sessions::end_browser_session(&ctx, &headers).await?;
    }
    Ok(sessions::token_response(&ctx, transport, pair))
}

/// Try to sign in again, from where this is asked, by the token in the letter.
///
/// The letter comes when too many passwords for an account were wrong. A token works once.
#[utoipa::path(post, path = "/unlock", tag = "auth",
    request_body(content = EmailProof, example = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 204, description = "This client may try again."), LinkProblems))]
async fn unlock(ctx: Ctx, Json(proof): Json<EmailProof>) -> Result<StatusCode, Problem> {
    service::unlock(&ctx, &proof.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

struct LoginProblems;

impl IntoResponses for LoginProblems {
    fn responses() -> Responses {
        body_problems_and(&[
            Code::InvalidCredentials,
            Code::TooManyAttempts,
            Code::EmailNotVerified,
            Code::AccountDisabled,
            Code::CsrfRefused,
        ])
    }
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
