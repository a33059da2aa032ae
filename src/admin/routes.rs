//! `/admin/*`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};
use utoipa_axum::routes;

use super::error::Error;
use super::model::{AccountPatch, Stats};
use super::service;
use crate::audit::{self, Record, RecordFilter};
use crate::auth::{self, SessionInfo};
use crate::ctx::UserCtx;
use crate::ids::UserId;
use crate::state::AppState;
use crate::users::{self, Account, AccountFilter};
use crate::web::{
    BodyProblems, Code, Json, Moment, Page, PageParams, Paged, Path, PathProblems, Problem,
    QueryProblems, Routes, problems,
};

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_accounts))
        .routes(routes!(get_account, change_account))
        .routes(routes!(list_account_sessions, end_account_sessions))
        .routes(routes!(list_audit_log))
        .routes(routes!(get_stats))
}

/// All accounts, the newest first.
#[utoipa::path(get, path = "/users", tag = "admin",
    params(AccountFilter, PageParams),
    responses((status = 200, description = "A page of accounts.", body = Page<Account>), QueryProblems))]
async fn list_accounts(
    ctx: UserCtx,
    paged: Paged<Moment, AccountFilter>,
) -> Result<Json<Page<Account>>, Problem> {
    let rows = users::list_accounts(&ctx.db, &paged.filter, paged.after, paged.limit).await?;
    let page = Page::cut(rows, paged.limit, |account| {
        Moment(account.created_at, account.id.0)
    });
    Ok(Json(page))
}

/// One account.
#[utoipa::path(get, path = "/users/{id}", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id.")),
    responses((status = 200, description = "The account.", body = Account), PathProblems))]
async fn get_account(ctx: UserCtx, Path(id): Path<UserId>) -> Result<Json<Account>, Problem> {
    let account = users::get_account(&ctx.db, id).await.map_err(Error::from)?;
    Ok(Json(account))
}

/// Change an account's role, disable it or enable it.
///
/// Another role, enabling an account, and disabling an administrator take the administrator's own
/// password and, where they have a second factor, a code or a recovery code. All administrators get
/// an email when somebody becomes one. Disabling ends its sessions at once; nobody can sign in to it, and its API keys and the links in
/// its letters do not work. The last administrator who can sign in stays one, and nobody disables
/// their own account.
#[utoipa::path(patch, path = "/users/{id}", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id.")),
    request_body(content = AccountPatch, examples(
        ("disable" = (summary = "Disable an account", value = json!({ "disabled": true, "reason": "sends spam" }))),
        ("promote" = (summary = "Make an administrator", value = json!({ "role": "admin",
            "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 200, description = "The account as it now stands.", body = Account), PathProblems, BodyProblems, ChangeProblems))]
async fn change_account(
    ctx: UserCtx,
    Path(id): Path<UserId>,
    Json(changes): Json<AccountPatch>,
) -> Result<Json<Account>, Problem> {
    Ok(Json(service::change_account(&ctx, id, changes).await?))
}

/// An account's living sessions, the last used first.
#[utoipa::path(get, path = "/users/{id}/sessions", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id."), PageParams),
    responses((status = 200, description = "A page of sessions.", body = Page<SessionInfo>), PathProblems, QueryProblems))]
async fn list_account_sessions(
    ctx: UserCtx,
    Path(id): Path<UserId>,
    paged: Paged<Moment>,
) -> Result<Json<Page<SessionInfo>>, Problem> {
    users::get_account(&ctx.db, id).await.map_err(Error::from)?;
    let page = auth::list_sessions(&ctx.db, id, ctx.session_id(), &paged, ctx.now()).await?;
    Ok(Json(page))
}

/// End all of an account's sessions. Their tokens are refused from now on.
#[utoipa::path(delete, path = "/users/{id}/sessions", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id.")),
    responses((status = 204, description = "The sessions are over."), PathProblems))]
async fn end_account_sessions(ctx: UserCtx, Path(id): Path<UserId>) -> Result<StatusCode, Problem> {
    service::end_sessions(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What happened to all accounts, the newest first.
#[utoipa::path(get, path = "/audit-log", tag = "admin",
    params(RecordFilter, PageParams),
    responses((status = 200, description = "A page of the log.", body = Page<Record>), QueryProblems))]
async fn list_audit_log(
    ctx: UserCtx,
    paged: Paged<Moment, RecordFilter>,
) -> Result<Json<Page<Record>>, Problem> {
    let rows = audit::list_records(&ctx.db, &paged.filter, paged.after, paged.limit).await?;
    Ok(Json(Page::cut(rows, paged.limit, Record::moment)))
}

/// How many accounts and sessions there are, and how many sign up.
#[utoipa::path(get, path = "/stats", tag = "admin",
    responses((status = 200, description = "The numbers.", body = Stats)))]
async fn get_stats(ctx: UserCtx) -> Result<Json<Stats>, Problem> {
    Ok(Json(service::stats(&ctx).await?))
}

type Responses = BTreeMap<String, RefOr<Response>>;

/// What changing an account can answer.
struct ChangeProblems;

impl IntoResponses for ChangeProblems {
    fn responses() -> Responses {
        problems(&[Code::Conflict, Code::LastAdmin, Code::TooManyAttempts])
    }
}
