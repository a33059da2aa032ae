//! `/admin/*`.

use axum::http::StatusCode;
use http_toolkit::{
    Json, Page, PageParams, PageRequest, Path, PathProblems, Problem, QueryProblems, Routes,
    TimeCursor,
};
use serde_json::json;
use utoipa_axum::routes;

use super::error::Error;
use super::model::{AccountPatch, OrganisationDetail, Stats};
use super::service;
use crate::audit::{self, Event, Record, RecordFilter};
use crate::auth::{self, SessionInfo, problem_groups};
use crate::ctx::{UserCtx, read_replica};
use crate::ids::{AccountId, UserId};
use crate::organisations::{self, Member, OrganisationFilter, OrganisationSummary};
use crate::scope::{Exception, Scope};
use crate::state::AppState;
use crate::users::{self, Account, AccountFilter, SearchText};

/// Lists and counts that tolerate lag. Those of organisations, and the audit log, are not among them: they record who read.
pub fn overview_routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(list_accounts))
        .routes(routes!(get_stats))
}

pub fn routes() -> Routes<AppState> {
    Routes::new()
        .routes(routes!(get_account, change_account))
        .routes(routes!(list_account_sessions, end_account_sessions))
        .routes(routes!(list_audit_log))
        .routes(routes!(list_all_organisations))
        .routes(routes!(get_any_organisation))
        .routes(routes!(list_organisation_members))
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
    let rows = read_replica!(ctx.lagging_reads_unscoped(), conn => {
        users::list_accounts(conn, &paged.filter, paged.after, paged.limit)
    })?;
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
    let now = ctx.now();
    let stats = read_replica!(ctx.lagging_reads_unscoped(), conn => service::stats(conn, now))?;
    Ok(Json(stats))
}

/// List organisations, newest first.
///
/// Deleted ones are listed until they are purged. The audit log records each search.
#[utoipa::path(get, path = "/organisations", tag = "admin",
    params(OrganisationFilter, PageParams),
    responses((status = 200, description = "A page of organisations.", body = Page<OrganisationSummary>), QueryProblems))]
async fn list_all_organisations(
    ctx: UserCtx,
    paged: PageRequest<TimeCursor, OrganisationFilter>,
) -> Result<Json<Page<OrganisationSummary>>, Problem> {
    let search = paged.filter.search.as_ref().map(SearchText::as_str);
    let mut tx = service::begin_reading(&ctx, json!({ "search": search })).await?;
    let rows =
        organisations::list_summaries(&mut *tx, &paged.filter, paged.after, paged.limit).await?;
    tx.commit().await?;
    Ok(Json(Page::cut(rows, paged.limit, |organisation| {
        TimeCursor(organisation.created_at, organisation.id.0)
    })))
}

/// Get an organisation with its plan.
///
/// The audit log records it.
#[utoipa::path(get, path = "/organisations/{id}", tag = "admin",
    params(("id" = AccountId, Path, description = "Id of the organisation.")),
    responses((status = 200, description = "The organisation.", body = OrganisationDetail), PathProblems))]
async fn get_any_organisation(
    ctx: UserCtx,
    Path(id): Path<AccountId>,
) -> Result<Json<OrganisationDetail>, Problem> {
    Ok(Json(service::get_organisation(&ctx, id).await?))
}

/// List the members of an organisation with their roles, in the order in which they joined.
///
/// The audit log records it.
#[utoipa::path(get, path = "/organisations/{id}/members", tag = "admin",
    params(("id" = AccountId, Path, description = "Id of the organisation."), PageParams),
    responses((status = 200, description = "A page of members.", body = Page<Member>), PathProblems, QueryProblems))]
async fn list_organisation_members(
    ctx: UserCtx,
    Path(id): Path<AccountId>,
    paged: PageRequest<TimeCursor>,
) -> Result<Json<Page<Member>>, Problem> {
    let mut tx = service::begin_reading(&ctx, json!({ "organisation": id })).await?;
    let found = organisations::find_summary(&mut *tx, id).await?;
    let (after, limit, avatars) = (paged.after, paged.limit, &ctx.avatar_root);
    let rows = organisations::list_members(&mut *tx, id, after, limit, avatars).await?;
    tx.commit().await?;
    found.ok_or(Error::NotFound)?;
    Ok(Json(Page::cut(rows, paged.limit, |member| {
        TimeCursor(member.created_at, member.user_id.0)
    })))
}
