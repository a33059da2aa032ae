//! `/admin/*`.

use axum::http::StatusCode;
use http_toolkit::{
    Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems, Routes,
    TimeCursor,
};
use serde_json::json;
use utoipa_axum::routes;

use super::error::Error;
use super::model::{AccountPatch, Stats};
use super::service;
use crate::audit::{self, Event, Record, RecordFilter};
use crate::auth::{self, SessionInfo, problem_groups};
use crate::ctx::UserCtx;
use crate::ids::UserId;
use crate::scope::{Exception, Scope};
use crate::state::AppState;
use crate::users::{self, Account, AccountFilter};

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_accounts))
        .routes(routes!(get_account, change_account))
        .routes(routes!(list_account_sessions, end_account_sessions))
        .routes(routes!(list_audit_log))
        .routes(routes!(get_stats))
}

problem_groups! {
    ChangeProblems [NotFound, Conflict, LastAdmin, TooManyAttempts];
}

/// List accounts, newest first.
#[utoipa::path(get, path = "/users", tag = "admin",
    params(AccountFilter, PageParams),
    responses((status = 200, description = "A page of accounts.", body = Page<Account>), QueryProblems))]
async fn list_accounts(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor, AccountFilter>,
) -> Result<Json<Page<Account>>, Problem> {
    let rows = users::list_accounts(&ctx.db, &paged.filter, paged.after, paged.limit).await?;
    let page = Page::cut(rows, paged.limit, |account| {
        TimeCursor(account.created_at, account.id.0)
    });
    Ok(Json(page))
}

/// Get an account.
#[utoipa::path(get, path = "/users/{id}", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id.")),
    responses((status = 200, description = "The account.", body = Account), PathProblems))]
async fn get_account(ctx: UserCtx, Path(id): Path<UserId>) -> Result<Json<Account>, Problem> {
    let account = users::get_account(&ctx.db, id).await.map_err(Error::from)?;
    Ok(Json(account))
}

/// Change the role of an account, disable it or enable it.
///
/// Changing a role, enabling an account and disabling an administrator require your own password and, if you
/// have a second factor, a code or a recovery code. All administrators get an email about a new administrator.
/// Disabling an account ends its sessions at once; sign-in, its API keys and the links in its emails stop
/// working. The last enabled administrator cannot be disabled or lose the role, and you cannot disable your
/// own account.
#[utoipa::path(patch, path = "/users/{id}", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id.")),
    request_body(content = AccountPatch, examples(
        ("disable" = (summary = "Disable an account", value = json!({ "disabled": true, "reason": "sends spam" }))),
        ("promote" = (summary = "Make an administrator", value = json!({ "role": "admin",
            "password": "correct horse battery staple", "code": "492039" }))))),
    responses((status = 200, description = "The updated account.", body = Account), PathProblems, ChangeProblems))]
async fn change_account(
    ctx: UserCtx,
    Path(id): Path<UserId>,
    Json(changes): Json<AccountPatch>,
) -> Result<Json<Account>, Problem> {
    Ok(Json(service::change_account(&ctx, id, changes).await?))
}

/// List the active sessions of an account, last used first.
#[utoipa::path(get, path = "/users/{id}/sessions", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id."), PageParams),
    responses((status = 200, description = "A page of sessions.", body = Page<SessionInfo>), PathProblems, QueryProblems))]
async fn list_account_sessions(
    ctx: UserCtx,
    Path(id): Path<UserId>,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<SessionInfo>>, Problem> {
    users::get_account(&ctx.db, id).await.map_err(Error::from)?;
    let page = auth::list_sessions(&ctx.db, id, ctx.session_id(), &paged, ctx.now()).await?;
    Ok(Json(page))
}

/// End all sessions of an account.
///
/// Their tokens stop working, and so do pending sign-ins and the links in emails.
#[utoipa::path(delete, path = "/users/{id}/sessions", tag = "admin",
    params(("id" = UserId, Path, description = "The account's id.")),
    responses((status = 204, description = "All sessions have ended."), PathProblems))]
async fn end_account_sessions(ctx: UserCtx, Path(id): Path<UserId>) -> Result<StatusCode, Problem> {
    service::end_sessions(&ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the audit log of all accounts, newest first.
#[utoipa::path(get, path = "/audit-log", tag = "admin",
    params(RecordFilter, PageParams),
    responses((status = 200, description = "A page of audit log entries.", body = Page<Record>), QueryProblems))]
async fn list_audit_log(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor, RecordFilter>,
) -> Result<Json<Page<Record>>, Problem> {
    let mut tx = ctx.begin_scoped(Scope::Exception(Exception::Admin)).await?;
    let rows = audit::list_records(&mut *tx, &paged.filter, paged.after, paged.limit).await?;
    let about = json!({ "user_id": paged.filter.user_id, "event": paged.filter.event });
    tx.audit(Event::AuditLogRead.detail(about)).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, paged.limit, Record::moment)))
}

/// Get the number of accounts, sessions and sign-ups.
#[utoipa::path(get, path = "/stats", tag = "admin",
    responses((status = 200, description = "The statistics.", body = Stats)))]
async fn get_stats(ctx: UserCtx) -> Result<Json<Stats>, Problem> {
    Ok(Json(service::stats(&ctx).await?))
}
