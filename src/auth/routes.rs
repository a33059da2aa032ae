//! `/auth/*` and `/.well-known/jwks.json`.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use utoipa::IntoResponses;
use utoipa::openapi::{self, RefOr};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Error;
use super::gate::authenticate;
use super::jobs::SendVerification;
use super::model::{
    EmailProof, KeySet, LetterRequest, MfaChallenge, NewAccount, Outcome, Refresh, SignIn,
    TokenPair,
};
use super::{service, session};
use crate::audit::Origin;
use crate::infra::Db;
use crate::jobs;
use crate::state::AppState;
use crate::web::{
    AuthProblems, BodyProblems, Client, Code, Json, Principal, Problem, RequestId, problems,
};

/// The routes of people who are not signed in.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(verify_email))
        .routes(routes!(resend_verification))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
}

/// The routes of people who are.
pub fn signed_in_router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(logout_all))
}

/// What stands at the root, where other services look for it.
pub fn well_known_router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_jwks))
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

/// Verify an address by the token in its letter. A token works once.
#[utoipa::path(post, path = "/verify-email", tag = "auth",
    request_body(content = EmailProof, example = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 204, description = "The address is verified."), LinkProblems))]
async fn verify_email(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(proof): Json<EmailProof>,
) -> Result<StatusCode, Problem> {
    service::verify_email(&state, &proof.token, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a new letter with a link. Earlier links stop working when it is sent.
///
/// The answer is the same whether or not the address is known.
#[utoipa::path(post, path = "/resend-verification", tag = "auth",
    request_body(content = LetterRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "If the address waits to be verified, a letter is on its way."), BodyProblems))]
async fn resend_verification(
    State(db): State<Db>,
    Json(wanted): Json<LetterRequest>,
) -> Result<StatusCode, Problem> {
    // Whether there is anything to send is found out when the job runs, so that the answer takes
    // as long either way.
    let job = SendVerification::to(wanted.email);
    jobs::enqueue(&db, &job, Some(&job.key())).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Sign in.
///
/// An account with a second factor gets a token for `/auth/login/mfa` instead of a session.
#[utoipa::path(post, path = "/login", tag = "auth",
    request_body(content = SignIn, example = json!({ "email": "ada@example.com", "password": "correct horse battery staple" })),
    responses(
        (status = 200, description = "A session has begun.", body = TokenPair),
        (status = 202, description = "The password is right; a second factor is asked for.", body = MfaChallenge),
        LoginProblems))]
async fn login(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(sign_in): Json<SignIn>,
) -> Result<Response, Problem> {
    let origin = Origin::new(&client, &request_id);
    Ok(match service::log_in(&state, sign_in, &origin).await? {
        Outcome::Session(pair) => Json(pair).into_response(),
        Outcome::SecondFactor(challenge) => (StatusCode::ACCEPTED, Json(challenge)).into_response(),
    })
}

/// Go on with a session: the refresh token is used up and the next pair returned.
///
/// For a few seconds the used token still answers with the same next one, for clients whose reply
/// was lost and for tabs that refresh at once. After that its use ends the session.
#[utoipa::path(post, path = "/refresh", tag = "auth",
    request_body(content = Refresh, example = json!({ "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 200, description = "The next pair.", body = TokenPair), RefreshProblems))]
async fn refresh(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(wanted): Json<Refresh>,
) -> Result<Json<TokenPair>, Problem> {
    let origin = Origin::new(&client, &request_id);
    Ok(Json(
        session::refresh(&state, wanted.refresh_token, &origin).await?,
    ))
}

/// Sign out.
///
/// Ends the session of the access token, or of the refresh token in the body for whoever has no
/// running access token any more.
#[utoipa::path(post, path = "/logout", tag = "auth", security(("bearer" = []), ()),
    request_body(content = Option<Refresh>, example = json!({ "refresh_token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 204, description = "The session is over."), AuthProblems, BodyProblems))]
async fn logout(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    headers: HeaderMap,
    body: Option<Json<Refresh>>,
) -> Result<StatusCode, Problem> {
    let origin = Origin::new(&client, &request_id);
    match (authenticate(&state, &headers).await, body) {
        (Ok(Some(who)), _) => session::log_out(&state, who, &origin).await?,
        (_, Some(Json(named))) => {
            session::log_out_by_token(&state, &named.refresh_token, &origin).await?;
        }
        (Ok(None), None) => return Err(Error::Unauthenticated.into()),
        (Err(problem), None) => return Err(problem),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out everywhere: ends all sessions of the account.
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

type Responses = BTreeMap<String, RefOr<openapi::Response>>;

/// What a body can answer, and what these codes say besides.
fn body_problems_and(codes: &[Code]) -> Responses {
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
        body_problems_and(&[Code::InvalidCredentials, Code::EmailNotVerified])
    }
}

struct RefreshProblems;

impl IntoResponses for RefreshProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidRefreshToken])
    }
}
