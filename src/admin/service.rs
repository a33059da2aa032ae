//! Changes to accounts by administrators, and audited reads of organisations.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use super::error::Error;
use super::model::{AccountPatch, AccountUpdate, OrganisationDetail, Stats, StatusChange};
use crate::audit::Event;
use crate::auth::{self, EndReason};
use crate::ctx::{Tx, UserCtx};
use crate::ids::{AccountId, UserId};
use crate::organisations;
use crate::plans;
use crate::scope::{Exception, Scope};
use crate::users::{self, Account, Role};

const SIGN_UP_DAYS: i32 = 30;

/// Locks the rows of all administrators, which serializes concurrent changes, so that the last administrator
/// stays. The reauthentication is checked again in the transaction.
pub(super) async fn change_account(
    ctx: &UserCtx,
    id: UserId,
    mut changes: AccountPatch,
) -> Result<Account, Error> {
    changes.check()?;
    let proven = match changes.take_proof()? {
        Some(proof) => Some(auth::reauthenticate(ctx, proof).await?),
        None => None,
    };
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let (before, admins) = users::lock_account_and_admins(&mut *tx, id).await?;
    let update = changes.resolve(&before, ctx.user_id(), &admins)?;
    match &proven {
        Some(proven) => auth::recheck_proof(&mut tx, ctx.user_id(), proven).await?,
        None if update.needs_reauthentication(&before) => return Err(Error::PasswordRequired),
        None => {}
    }
    if update == AccountUpdate::default() {
        return Ok(before);
    }
    let change = auth::begin_credentials_change(&mut tx, id, None)
        .await?
        .ok_or(Error::NotFound)?;
    let mut entries = Vec::new();
    let mut ended = Vec::new();
    if let Some(role) = update.role {
        users::set_role(&mut *tx, &change, role, now).await?;
        if role == Role::Admin {
            auth::announce_admin(&mut tx, &change).await?;
        }
        entries.push((
            Event::RoleChanged,
            json!({ "from": before.role, "to": role }),
        ));
    }
    match update.status {
        Some(StatusChange::Disable(reason)) => {
            let since = before.disabled_at.unwrap_or(now);
            users::set_disabled(&mut *tx, &change, Some(since), reason.as_ref(), now).await?;
            ended = auth::end_sessions(&mut *tx, &change, None, EndReason::AccountDisabled, now)
                .await?;
            let from = status(before.is_disabled());
            let detail = json!({ "from": from, "to": status(true), "reason": reason, "sessions": ended.len() });
            entries.push((Event::AccountDisabled, detail));
        }
        Some(StatusChange::Enable) => {
            users::set_disabled(&mut *tx, &change, None, None, now).await?;
            let reason = &before.disabled_reason;
            let detail = json!({ "from": status(true), "to": status(false), "reason": reason });
            entries.push((Event::AccountEnabled, detail));
        }
        None => {}
    }
    for (event, detail) in entries {
        tx.audit(event.about(id).detail(detail)).await?;
    }
    let after = users::get_account(&mut *tx, id).await?;
    tx.commit().await?;
    auth::revoke_access_tokens(ctx, ended, now);
    Ok(after)
}

/// As in the audit log.
fn status(is_disabled: bool) -> &'static str {
    if is_disabled { "disabled" } else { "enabled" }
}

/// Also voids links and pending sign-ins. No reauthentication: it grants nothing, and is urgent.
pub(super) async fn end_sessions(ctx: &UserCtx, id: UserId) -> Result<(), Error> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let change = auth::begin_credentials_change(&mut tx, id, None)
        .await?
        .ok_or(Error::NotFound)?;
    let ended = auth::end_sessions(&mut *tx, &change, None, EndReason::EndedByAdmin, now).await?;
    let detail = json!({ "sessions": ended.len() });
    let entry = Event::SessionsEndedByAdmin.about(id);
    tx.audit(entry.detail(detail)).await?;
    tx.commit().await?;
    auth::revoke_access_tokens(ctx, ended, now);
    Ok(())
}

/// Begins to read organisations, which is audited.
pub(super) async fn begin_reading(
    ctx: &UserCtx,
    detail: serde_json::Value,
) -> Result<Tx<'_>, sqlx::Error> {
    let scope = Scope::Exception(Exception::Admin);
    let mut tx = ctx.begin_scoped(scope).await?;
    tx.audit(Event::OrganisationsRead.detail(detail)).await?;
    Ok(tx)
}

pub(super) async fn get_organisation(
    ctx: &UserCtx,
    id: AccountId,
) -> Result<OrganisationDetail, Error> {
    let mut tx = begin_reading(ctx, json!({ "organisation": id })).await?;
    let organisation = organisations::find_summary(&mut *tx, id).await?;
    tx.commit().await?;
    let organisation = organisation.ok_or(Error::NotFound)?;
    let plan = plans::plan_of(ctx, id).await?;
    Ok(OrganisationDetail {
        organisation,
        plan,
        seats: plan.tier(&ctx.plans).seats,
    })
}

pub(super) async fn stats(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Stats, sqlx::Error> {
    Ok(Stats {
        accounts: users::count_accounts(&mut *conn).await?,
        sign_ups: users::count_sign_ups(&mut *conn, SIGN_UP_DAYS, now).await?,
        living_sessions: auth::count_sessions(&mut *conn, now).await?,
    })
}
