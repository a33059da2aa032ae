//! `/auth/*` and `/.well-known/jwks.json`.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use utoipa::IntoResponses;
use utoipa::openapi::{self, RefOr};
use utoipa_axum::routes;

use super::error::Error;
use super::gate::authenticate;
use super::jobs::SendVerification;
use super::model::{
    AddressProof, KeySet, LetterRequest, MfaChallenge, NewAccount, Outcome, Refresh, SignIn,
    SignedIn, Transport,
};
use super::{addresses, browser, cookie, refresh as rotation, service, session};
use crate::audit::Origin;
use crate::infra::Ask;
use crate::jobs;
use crate::state::AppState;
use crate::web::{
    AuthProblems, BodyProblems, Client, Code, Json, Principal, Problem, RequestId, Routes, allows,
    problems,
};

/// The routes of people who are not signed in.
pub fn router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(verify_email))
        .routes(routes!(resend_verification))
        .routes(routes!(login))
}

/// The route of people who have no account yet.
pub fn register_router() -> Routes<AppState> {
    Routes::new().routes(routes!(register))
}

/// The routes that a session goes on and ends by, with nothing but its refresh token.
pub fn session_router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(refresh))
        .routes(routes!(logout))
}

/// The routes of people who are.
pub fn signed_in_router() -> Routes<AppState> {
    Routes::new().routes(routes!(logout_all))
}

/// What stands at the root, where other services look for it.
pub fn well_known_router() -> Routes<AppState> {
    Routes::new().routes(routes!(get_jwks))
}

/// Sign up.
///
/// The answer is the same whether or not the address is known; the letter tells. A new account can
/// sign in once the link in its letter was followed.
#[utoipa::path(post, path = "/register", tag = "auth",
    request_body(content = NewAccount, example = json!({
        "email": "ada@example.com", "password": "correct horse battery staple", "first_name": "Ada" })),
    responses((status = 202, description = "A letter is on its way."), BodyProblems))]
async fn register(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(new): Json<NewAccount>,
) -> Result<StatusCode, Problem> {
    service::register(&state, new, &Origin::new(&client, &request_id)).await?;
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
async fn verify_email(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(proof): Json<AddressProof>,
) -> Result<StatusCode, Problem> {
    addresses::verify_email(&state, proof, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a new letter with a link. Earlier links stop working when it is sent.
///
/// The answer is the same whether or not the address is known.
#[utoipa::path(post, path = "/resend-verification", tag = "auth",
    request_body(content = LetterRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "If the address waits to be verified, a letter is on its way."), BodyProblems))]
async fn resend_verification(
    State(state): State<AppState>,
    Json(wanted): Json<LetterRequest>,
) -> Result<StatusCode, Problem> {
    // The same for any address, and never reported, as for a reset.
    let address = state.limiter.hidden_key(wanted.email.as_str());
    let ask = Ask::spend(state.limits.resend_address, address);
    if allows(&state.limiter, &[ask]).await {
        // Whether there is anything to send is found out when the job runs, so that the answer takes
        // as long either way.
        let job = SendVerification::to(wanted.email);
        jobs::enqueue(&state.db, &job, Some(&job.key())).await?;
    }
    Ok(StatusCode::ACCEPTED)
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
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    Json(sign_in): Json<SignIn>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    let transport = sign_in.transport;
    cookie::check_sign_in(&state, &headers, transport)?;
    let pair = match service::log_in(&state, sign_in, &origin).await? {
        Outcome::Session(pair) => pair,
        Outcome::SecondFactor(challenge) => {
            return Ok((StatusCode::ACCEPTED, Json(challenge)).into_response());
        }
    };
    if transport == Transport::Cookie {
        browser::leave(&state, &headers, &origin).await?;
    }
    Ok(cookie::answer(&state, transport, pair))
}

/// Go on with a session: the refresh token is used up and the next pair returned.
///
/// For a few seconds the used token still answers with the same next one, for clients whose reply
/// was lost and for tabs that refresh at once. After that its use ends the session. Without a body
/// the refresh cookie is meant, with the CSRF token in `X-CSRF-Token`.
#[utoipa::path(post, path = "/refresh", tag = "auth", security((), ("refresh_cookie" = [], "csrf" = [])),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses(
        (status = 200, description = "The next pair.", body = SignedIn,
            headers(("Set-Cookie" = Option<String>, description = "Without a body: the next access and refresh cookie.")),
            examples(
                ("bearer" = (summary = "To a program", value = json!({ "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 900, "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "refresh_expires_in": 1_209_600 }))),
                ("cookie" = (summary = "To a browser", value = json!({ "csrf_token": "AZgLbnwAcACAAD8qUdbJsW1GOUI1ZjQxSnFNMFE4cjJadDd1WXdYY1ZiTmFTZEZn", "expires_in": 900, "refresh_expires_in": 1_209_600 }))))),
        RefreshProblems))]
async fn refresh(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    let Some(Json(wanted)) = body else {
        return browser::refresh(&state, &headers, &origin).await;
    };
    let pair = rotation::refresh(&state, wanted.refresh_token, None, &origin).await?;
    Ok(cookie::answer(&state, Transport::Bearer, pair))
}

/// Sign out.
///
/// Ends the session of the access token, or of the refresh token in the body for whoever has no
/// running access token any more, or of either cookie, with the CSRF token in `X-CSRF-Token`.
#[utoipa::path(post, path = "/logout", tag = "auth",
    security(("bearer" = []), ("cookie" = [], "csrf" = []), ("refresh_cookie" = [], "csrf" = []), ()),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses(
        (status = 204, description = "The session is over.",
            headers(("Set-Cookie" = Option<String>, description = "To a browser: both cookies, run out."))),
        AuthProblems, BodyProblems))]
async fn logout(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    if body.is_none() && browser::is_calling(&state, &headers) {
        return browser::log_out(&state, &headers, &origin).await;
    }
    match (authenticate(&state, &headers).await, body) {
        (Ok(Some(who)), _) => session::log_out(&state, who, &origin).await?,
        (_, Some(Json(named))) => {
            session::log_out_by_token(&state, &named.refresh_token, &origin).await?;
        }
        (Ok(None), None) => return Err(Error::Unauthenticated.into()),
        (Err(problem), None) => return Err(problem),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sign out everywhere: ends all sessions of the account, and voids the links in its emails.
#[utoipa::path(post, path = "/logout-all", tag = "auth", security(("bearer" = [])),
    responses((status = 204, description = "All sessions are over."), AuthProblems))]
async fn logout_all(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
) -> Result<StatusCode, Problem> {
    session::log_out_everywhere(&state, me, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The public keys of our access tokens (RFC 7517 §5), for services that verify them themselves.
#[utoipa::path(get, path = "/jwks.json", tag = "auth",
    responses((status = 200, description = "The keys; the first one signs.", body = KeySet)))]
async fn get_jwks(State(state): State<AppState>) -> impl IntoResponse {
    let keys = KeySet {
        keys: state.keys.public().cloned().collect(),
    };
    (
        [(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        )],
        Json(keys),
    )
}

pub(super) type Responses = BTreeMap<String, RefOr<openapi::Response>>;

/// What a body can answer, and what these codes say besides.
pub(super) fn body_problems_and(codes: &[Code]) -> Responses {
    let body = [
        Code::BadRequest,
        Code::RequestTimeout,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidFields,
    ];
    problems(&[&body[..], codes].concat())
}

pub(super) struct LinkProblems;

impl IntoResponses for LinkProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidToken])
    }
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

struct RefreshProblems;

impl IntoResponses for RefreshProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidRefreshToken, Code::CsrfRefused])
    }
}
