//! What an account's owner does about its password, address and sessions: `/auth/forgot-password`,
//! `/auth/reset-password`, `/auth/undo-email-change`, `/auth/sessions`, `/users/me/password` and `/users/me/email`.

use axum::extract::State;
use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa_axum::routes;

use super::jobs::SendReset;
use super::model::{
    Device, EmailChange, EmailProof, EmailUndo, LetterRequest, PasswordChange, PasswordReset,
};
use super::oversight::list_sessions_of;
use super::routes::{LinkProblems, Responses, body_problems_and};
use super::{addresses, recovery, session};
use crate::audit::Origin;
use crate::ids::SessionId;
use crate::infra::{Ask, Clock, Db};
use crate::jobs;
use crate::state::AppState;
use crate::users;
use crate::web::{
    AuthProblems, BodyProblems, Client, Code, Json, Moment, Page, PageParams, Paged, Path,
    PathProblems, Principal, Problem, QueryProblems, ReauthenticationProblems, RequestId, Routes,
    allows,
};

/// The route below `/auth` of people who have forgotten their password.
pub fn forgotten_router() -> Routes<AppState> {
    Routes::new().routes(routes!(forgot_password))
}

/// The routes below `/auth` that the links in letters lead to.
pub fn recovery_router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(reset_password))
        .routes(routes!(undo_email_change))
        .routes(routes!(unlock))
}

/// The routes below `/auth` of people who are.
pub fn sessions_router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
}

/// The routes below `/users`.
pub fn credentials_router() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(change_password))
        .routes(routes!(change_email))
}

/// Ask for a letter with a link that sets a new password. Earlier links stop working when it is sent.
///
/// The answer is the same whether or not the address is known.
#[utoipa::path(post, path = "/forgot-password", tag = "auth",
    request_body(content = LetterRequest, example = json!({ "email": "ada@example.com" })),
    responses((status = 202, description = "If there is such an account, a letter is on its way."), BodyProblems))]
async fn forgot_password(
    State(state): State<AppState>,
    Json(wanted): Json<LetterRequest>,
) -> Result<StatusCode, Problem> {
    // The same for any address, and never reported: a stranger who has spent the limit must not turn the
    // owner away. The last email is in the mailbox, and its link works.
    let address = state.limiter.hidden_key(wanted.email.as_str());
    let ask = Ask::spend(state.limits.reset_address, address);
    if allows(&state.limiter, &[ask]).await {
        // As for a new verification: the job finds out whether there is anybody to write to. It issues
        // nothing if the account's credentials change before it runs.
        let version = users::find_credentials_version(&state.db, &wanted.email).await?;
        let job = SendReset::to(wanted.email, version);
        jobs::enqueue_urgent(&state.db, &job, Some(&job.key())).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

/// Set a new password by the token in the letter. A token works once; all sessions end.
#[utoipa::path(post, path = "/reset-password", tag = "auth",
    request_body(content = PasswordReset, example = json!({
        "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The password is set."), LinkProblems))]
async fn reset_password(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(reset): Json<PasswordReset>,
) -> Result<StatusCode, Problem> {
    recovery::reset_password(&state, reset, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Undo a change of the address, by the token in the email to the address before.
///
/// It restores that address and sets a new password. All sessions end, and API keys, a second factor and
/// recovery codes that were added since the change was asked for are revoked. A token works once; those
/// of earlier changes of the address still work afterwards, those of later ones do not.
#[utoipa::path(post, path = "/undo-email-change", tag = "auth",
    request_body(content = EmailUndo, example = json!({
        "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ", "password": "correct horse battery staple" })),
    responses((status = 204, description = "The address is restored and the password is set."), UndoProblems))]
async fn undo_email_change(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(undo): Json<EmailUndo>,
) -> Result<StatusCode, Problem> {
    addresses::undo_change(&state, undo, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

struct UndoProblems;

impl IntoResponses for UndoProblems {
    fn responses() -> Responses {
        body_problems_and(&[Code::InvalidToken, Code::Conflict])
    }
}

/// Try to sign in again, from where this is asked, by the token in the letter.
///
/// The letter comes when too many passwords for an account were wrong. A token works once.
#[utoipa::path(post, path = "/unlock", tag = "auth",
    request_body(content = EmailProof, example = json!({ "token": "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ" })),
    responses((status = 204, description = "This client may try again."), LinkProblems))]
async fn unlock(
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(proof): Json<EmailProof>,
) -> Result<StatusCode, Problem> {
    recovery::unlock(&state, &proof.token, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// My living sessions, the last used first. The one that asks is marked.
#[utoipa::path(get, path = "/sessions", tag = "auth", security(("bearer" = [])),
    params(PageParams),
    responses((status = 200, description = "A page of sessions.", body = Page<Device>), AuthProblems, QueryProblems))]
async fn list_sessions(
    me: Principal,
    State(db): State<Db>,
    State(clock): State<Clock>,
    paged: Paged<Moment>,
) -> Result<Json<Page<Device>>, Problem> {
    let (user_id, session_id) = (me.user_id, me.session_id);
    let page = list_sessions_of(&db, user_id, session_id, &paged, clock.now()).await?;
    Ok(Json(page))
}

/// End one of my sessions. Its tokens are refused from now on.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "auth", security(("bearer" = [])),
    params(("id" = SessionId, Path, description = "The session's id.")),
    responses((status = 204, description = "The session is over."), AuthProblems, PathProblems))]
async fn end_session(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    session::end_session(&state, me, id, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change my password. It takes the present one; all other sessions end.
///
/// It also takes a code or a recovery code, where the account has a second factor.
#[utoipa::path(post, path = "/me/password", tag = "users", security(("bearer" = [])),
    request_body(content = PasswordChange, examples(
        ("password" = (summary = "With the password", value = json!({
            "current_password": "correct horse battery staple", "new_password": "staple battery horse correct" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "current_password": "correct horse battery staple", "code": "492039",
            "new_password": "staple battery horse correct" }))))),
    responses((status = 204, description = "The password is changed."), AuthProblems, BodyProblems, ReauthenticationProblems))]
async fn change_password(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    recovery::change_password(&state, me, change, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change my address.
///
/// An email asks the new one to confirm it, by `/auth/verify-email`; until then the old one stays, and is
/// told. It takes the password and, where the account has a second factor, a code or a recovery code.
/// Once the change takes effect, an email to the old address has a link that undoes it.
#[utoipa::path(post, path = "/me/email", tag = "users", security(("bearer" = [])),
    request_body(content = EmailChange, examples(
        ("password" = (summary = "With the password", value = json!({
            "email": "countess@example.com", "password": "correct horse battery staple" }))),
        ("second_factor" = (summary = "With both factors", value = json!({
            "email": "countess@example.com", "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 202, description = "A letter is on its way, if the address is free."), AuthProblems, BodyProblems, ReauthenticationProblems))]
async fn change_email(
    me: Principal,
    State(state): State<AppState>,
    client: Client,
    request_id: RequestId,
    Json(change): Json<EmailChange>,
) -> Result<StatusCode, Problem> {
    addresses::request_change(&state, me, change, &Origin::new(&client, &request_id)).await?;
    Ok(StatusCode::ACCEPTED)
}
