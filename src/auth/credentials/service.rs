//! Reset and change of a password.

use super::jobs::NotifyPasswordChanged;
use super::model::{PasswordChange, PasswordReset};
use super::new_password::check_new_password;
use super::reauthentication::{ReauthProof, reauthenticate};
use crate::audit::Event;
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::sessions::{EndReason, end_sessions, revoke_access_tokens};
use crate::auth::sign_in::clear_failures;
use crate::ctx::{Ctx, UserCtx};
use crate::users;

pub(crate) async fn reset_password(ctx: &Ctx, reset: PasswordReset) -> Result<(), Error> {
    // Before hashing, so that an invalid token costs only a query.
    let link = links::find(&ctx.db, reset.token.hash(), links::RESET_LINKS, ctx.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    let user_id = link.user_id;
    let known = users::find_own_credentials(&ctx.db, user_id)
        .await?
        .ok_or(Error::InvalidLink)?;
    let password = check_new_password(ctx, reset.password, &known.email, "password").await?;
    let hash = ctx.hasher.hash(password).await?;
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let change = begin_credentials_change(&mut tx, user_id, Some(link.version))
        .await?
        .ok_or(Error::InvalidLink)?;
    // The email arrived, so the address is verified as well.
    let email = users::reset_password_hash(&mut *tx, &change, &hash, now)
        .await?
        .ok_or(Error::InvalidLink)?;
    links::accept_emails_again(&mut tx, &email).await?;
    let ended = end_sessions(&mut *tx, &change, None, EndReason::PasswordChanged, now).await?;
    tx.audit(Event::PasswordReset.by(user_id)).await?;
    job_queue::enqueue(&mut *tx, &NotifyPasswordChanged::to(email), None).await?;
    tx.commit().await?;
    revoke_access_tokens(ctx, ended, now);
    clear_failures(ctx, known.email, user_id).await
}

pub(crate) async fn change_password(ctx: &UserCtx, change: PasswordChange) -> Result<(), Error> {
    let PasswordChange {
        current_password,
        new_password,
        code,
        recovery_code,
    } = change;
    let proof = ReauthProof::new("current_password", current_password, code, recovery_code)?;
    let known = reauthenticate(ctx, proof).await?;
    let password = check_new_password(ctx, new_password, &known.email, "new_password").await?;
    let hash = ctx.hasher.hash(password).await?;
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    // Of two concurrent calls, the second has proved a password that is replaced.
    let change = begin_credentials_change(&mut tx, ctx.user_id(), Some(known.version))
        .await?
        .ok_or(Error::WrongPassword("current_password"))?;
    users::set_password_hash(&mut *tx, &change, &hash).await?;
    let reason = EndReason::PasswordChanged;
    let ended = end_sessions(&mut *tx, &change, Some(ctx.session_id()), reason, now).await?;
    tx.audit(Event::PasswordChanged).await?;
    job_queue::enqueue(&mut *tx, &NotifyPasswordChanged::to(known.email), None).await?;
    tx.commit().await?;
    revoke_access_tokens(ctx, ended, now);
    Ok(())
}
