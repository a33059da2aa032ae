//! CLI commands on deletions.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use clock::after;
use email_transport::EmailAddress;

use super::error::Error;
use super::model::{Deletion, NewDeletion};
use super::{jobs, list, service, store};
use crate::auth;
use crate::ctx::Ctx;
use crate::ids::{AccountId, UserId};
use crate::scope::{Exception, Scope};
use crate::users;

/// Requests the deletion of an account whose owner has asked for it elsewhere; with `at_once` without the time in which it
/// can be canceled. Returns lines for the person.
pub(in crate::privacy) async fn erase(
    ctx: &Ctx,
    email: &EmailAddress,
    at_once: bool,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let now = ctx.now();
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Membership))
        .await?;
    let known = users::find_credentials(&mut *tx, email).await?;
    let known = known.ok_or(auth::CommandError::NoAccount)?;
    if let Some(at) = known.erase_at
        && !at_once
    {
        return Ok(vec![format!(
            "the deletion is pending: the account is erased at {}",
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        )]);
    }
    let erase_at = if at_once {
        now
    } else {
        after(now, ctx.erasure.grace)
    };
    let ended = service::begin(&mut tx, known.user_id, None, erase_at).await?;
    tx.commit().await?;
    auth::revoke_access_tokens(ctx, ended, now);
    Ok(vec![if at_once {
        "the account is erased by the next run of the worker, within ten minutes".to_owned()
    } else {
        format!(
            "the account is erased at {}",
            erase_at.to_rfc3339_opts(SecondsFormat::Secs, true)
        )
    }])
}

/// Lines about all deletions that are not done, the oldest request first.
pub(in crate::privacy) async fn requests(ctx: &Ctx) -> Result<Vec<String>, Error> {
    let now = ctx.now();
    let all = store::list_open(&ctx.db).await?;
    Ok(all.iter().map(|it| line(it, now)).collect())
}

fn line(it: &Deletion, now: DateTime<Utc>) -> String {
    let days = (now - it.requested_at).num_days();
    let at = it.erase_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let state = match (it.started_at, it.deferred_reason) {
        (Some(_), _) => "in progress".to_owned(),
        (None, Some(reason)) => format!("deferred: {}", reason.as_str()),
        (None, None) if it.erase_at > now => "can be canceled".to_owned(),
        (None, None) => "due".to_owned(),
    };
    format!("{} erasure, {days} days old, at {at}, {state}", it.user_id)
}

/// Ids of a file, one a line.
fn read_ids(path: &Path) -> Result<Vec<UserId>, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let ids = lines.map(|line| line.parse().map(UserId).map_err(Into::into));
    ids.collect()
}

/// Erases users again that were erased before, after a restore of the database: those of a file, or all of the list in the
/// object store. Returns lines for the person.
pub(in crate::privacy) async fn reapply(
    ctx: &Ctx,
    file: Option<&Path>,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let ids = match (file, &ctx.storage) {
        (Some(file), _) => read_ids(file)?,
        (None, Some(storage)) => list::read(storage).await?,
        (None, None) => return Err("STORAGE_BUCKET is not set: give a file with --ids".into()),
    };
    let (now, listed) = (ctx.now(), ids.len());
    let mut found = Vec::new();
    for user_id in ids {
        let mut tx = ctx.begin().await?;
        if users::exists(&mut *tx, user_id).await? {
            let again = NewDeletion {
                user_id,
                erase_at: now,
                books_id: AccountId(uuid::Builder::from_random_bytes(ctx.rng.bytes()).into_uuid()),
                is_notified: false,
            };
            store::insert(&mut *tx, again, now).await?;
            found.push(user_id);
        }
        tx.commit().await?;
    }
    jobs::erase_due(ctx).await?;
    let mut lines = vec![format!(
        "{listed} users are listed, {} of them were in the database",
        found.len()
    )];
    for user_id in found {
        if let Some(it) = store::find(&ctx.db, user_id).await?
            && it.erased_at.is_none()
        {
            lines.push(line(&it, now));
        }
    }
    Ok(lines)
}
