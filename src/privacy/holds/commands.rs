//! Placing and releasing holds, by CLI commands and at their end.

use email_transport::EmailAddress;
use serde_json::json;

use super::model::NewHold;
use super::store;
use crate::audit::{self, Event};
use crate::auth::CommandError;
use crate::cli::HoldOptions;
use crate::ctx::{Ctx, Tx};
use crate::ids::UserId;
use crate::users;

/// Locks the account, so that a hold and the beginning of an erasure do not overlap.
async fn lock(tx: &mut Tx<'_>, email: &EmailAddress) -> Result<UserId, Box<dyn std::error::Error>> {
    let found = users::find_credentials(&mut **tx, email).await?;
    let user_id = found.ok_or(CommandError::NoAccount)?.user_id;
    let locked = users::lock_account_and_admins(&mut **tx, user_id).await;
    locked.map_err(|_| CommandError::NoAccount)?;
    Ok(user_id)
}

/// Places a hold on an account, or releases it, as the options of the command say.
pub(in crate::privacy) async fn hold(
    ctx: &Ctx,
    options: HoldOptions,
) -> Result<(), Box<dyn std::error::Error>> {
    let email = options.email.try_into()?;
    let (Some(reason), Some(by), Some(ends_at)) = (options.reason, options.by, options.until)
    else {
        return release(ctx, &email).await;
    };
    let hold = NewHold {
        reason: reason.try_into()?,
        placed_by: by.try_into()?,
        ends_at,
    };
    place(ctx, &email, &hold).await
}

async fn place(
    ctx: &Ctx,
    email: &EmailAddress,
    hold: &NewHold,
) -> Result<(), Box<dyn std::error::Error>> {
    let now = ctx.now();
    if hold.ends_at <= now {
        return Err("the end of the hold is in the past".into());
    }
    let mut tx = ctx.begin().await?;
    let user_id = lock(&mut tx, email).await?;
    store::put(&mut *tx, user_id, hold, now).await?;
    let detail = json!({
        "ends_at": hold.ends_at, "reason": hold.reason.as_str(), "placed_by": hold.placed_by.as_str(),
    });
    let entry = Event::LegalHoldPlaced.about(user_id);
    tx.audit(entry.detail(detail)).await?;
    tx.commit().await?;
    Ok(())
}

async fn release(ctx: &Ctx, email: &EmailAddress) -> Result<(), Box<dyn std::error::Error>> {
    let mut tx = ctx.begin().await?;
    let user_id = lock(&mut tx, email).await?;
    if !store::delete(&mut *tx, user_id).await? {
        return Err("the account is not held".into());
    }
    finish_release(&mut tx, user_id).await?;
    tx.commit().await?;
    Ok(())
}

/// Releases the holds that have ended.
pub(in crate::privacy) async fn release_ended(ctx: &Ctx) -> Result<(), sqlx::Error> {
    let mut tx = ctx.begin().await?;
    for user_id in store::delete_ended(&mut *tx, ctx.now()).await? {
        finish_release(&mut tx, user_id).await?;
    }
    tx.commit().await
}

async fn finish_release(tx: &mut Tx<'_>, user_id: UserId) -> Result<(), sqlx::Error> {
    audit::restart_address_removal(&mut **tx).await?;
    tx.audit(Event::LegalHoldReleased.about(user_id)).await
}
