//! Change of an account's address, and its undoing.

use clock::after;
use email_transport::EmailAddress;
use serde_json::json;

use super::jobs::{ConfirmNewEmail, NotifyEmailChanging, NotifyPasswordChanged, SendEmailUndo};
use super::model::{EmailChange, EmailUndo};
use super::new_password::check_new_password;
use super::reauthentication::{ReauthProof, reauthenticate, recheck_proof, spend_own};
use super::store::{self, NewEmailChange};
use crate::api_keys::revoke_since;
use crate::audit::Event;
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::links::{self, Link};
use crate::auth::middleware;
use crate::auth::sessions::{EndReason, end_sessions, revoke_access_tokens};
use crate::auth::sign_in::clear_failures;
use crate::ctx::{Ctx, Tx, UserCtx};
use crate::ids::UserId;
use crate::mfa;
use crate::scope::{self, Exception, Scope};
use crate::users::{self, CredentialsChange, CredentialsVersion};

/// Attempts, as a sign-up with the address may commit between the two statements of a claim.
const CLAIM_ATTEMPTS: usize = 3;

/// Asks the owner of a new address to confirm it; until then the old one stays. Reply and notice are the
/// same for an address that has an account: its owner gets no email.
pub(crate) async fn request_change(ctx: &UserCtx, change: EmailChange) -> Result<(), Error> {
    let proof = ReauthProof::new(
        "password",
        change.password,
        change.code,
        change.recovery_code,
    )?;
    let known = reauthenticate(ctx, proof).await?;
    spend_own(ctx, ctx.limits.email_change).await?;
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    let job = ConfirmNewEmail::to(ctx.user_id(), change.email, known.version, Some(now));
    // By account as well: two accounts that ask for one address do not replace each other's request.
    let key = format!("{}:{}", job.key(), ctx.user_id().0);
    job_queue::enqueue(&mut *tx, &job, Some(&key)).await?;
    // Enqueued before the address is looked up, so that the notice does not reveal what was found.
    job_queue::enqueue(&mut *tx, &NotifyEmailChanging::to(known.email), None).await?;
    tx.audit(Event::EmailChangeRequested).await?;
    tx.commit().await?;
    Ok(())
}

/// Changes the address by the link that was sent to the new one.
pub(crate) async fn apply_email_change(
    ctx: &Ctx,
    link: &Link,
    email: &EmailAddress,
) -> Result<(), Error> {
    let now = ctx.now();
    let changed = change_address(ctx, link.user_id, Some(link.version), email).await;
    let (mut tx, _, old_email) = changed.map_err(|error| match error {
        Error::AddressTaken => Error::InvalidLink, // for the client a link that no longer works
        other => other,
    })?;
    let undo = NewEmailChange {
        id: clock::uuid_v7(now, &ctx.rng),
        user_id: link.user_id,
        old_email,
        requested_at: link.created_at,
        expires_at: after(now, ctx.auth.email_undo_ttl),
    };
    store::insert_email_change(&mut *tx, &undo, now).await?;
    job_queue::enqueue(&mut *tx, &SendEmailUndo::to(undo.id), None).await?;
    tx.audit(Event::EmailChanged.by(link.user_id)).await?;
    tx.commit().await?;
    Ok(())
}

/// Begins a change of the credentials that gives an account an address, and returns the old one.
async fn change_address<'a>(
    ctx: &'a Ctx,
    user_id: UserId,
    proven: Option<CredentialsVersion>,
    email: &EmailAddress,
) -> Result<(Tx<'a>, CredentialsChange, EmailAddress), Error> {
    for _ in 0..CLAIM_ATTEMPTS {
        let mut tx = ctx.begin().await?;
        let displaced = users::claim_address(&mut tx, user_id, email).await?;
        let change = begin_credentials_change(&mut tx, user_id, proven)
            .await?
            .ok_or(Error::InvalidLink)?;
        match users::change_email(&mut *tx, &change, email, ctx.now()).await {
            Ok(old_email) => {
                links::accept_emails_again(&mut tx, email).await?;
                if displaced.is_some() {
                    let detail = json!({ "reason": "address_proved_by_another_account" });
                    let entry = Event::UnverifiedPurged.about(displaced);
                    tx.audit(entry.detail(detail)).await?;
                }
                return Ok((tx, change, old_email));
            }
            Err(users::Error::EmailTaken) => {
                tx.rollback().await?;
                if users::is_address_taken(&ctx.db, email).await? {
                    break;
                }
            }
            Err(users::Error::NotFound) => return Err(Error::InvalidLink),
            Err(users::Error::Database(error)) => return Err(error.into()),
        }
    }
    Err(Error::AddressTaken)
}

/// Restores the address that an account had before a change, by the link that was sent there, and with
/// it whose account it is: a new password is set, all sessions end, and what was added since the change
/// was asked for is revoked: API keys, a second factor and recovery codes. A second factor from before
/// stays, so that somebody who only reads the old mailbox does not get into the account.
pub(crate) async fn undo_change(ctx: &Ctx, undo: EmailUndo) -> Result<(), Error> {
    let token = undo.token.hash();
    // Before hashing, so that an invalid token costs only a query.
    let found = store::find_email_change(&ctx.db, token, ctx.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    let email = &found.old_email;
    let password = check_new_password(ctx, undo.password, email, "password").await?;
    let hash = ctx.hasher.hash(password).await?;
    let now = ctx.now();
    let (mut tx, change, _) = change_address(ctx, found.user_id, None, email).await?;
    if !store::delete_email_change(&mut *tx, found.user_id, token, now).await? {
        return Err(Error::InvalidLink);
    }
    users::set_password_hash(&mut *tx, &change, &hash).await?;
    let why = EndReason::PasswordChanged;
    let ended = end_sessions(&mut *tx, &change, None, why, now).await?;
    let since = found.requested_at;
    scope::set(&mut *tx, Scope::Exception(Exception::Authentication)).await?;
    let keys = revoke_since(&mut *tx, found.user_id, since, now).await?;
    let factor = mfa::remove_since(&mut tx, &change, since).await?;
    let detail = json!({
        "sessions": ended.len(), "api_keys": keys, "second_factor_removed": factor,
    });
    let entry = Event::EmailChangeUndone.by(found.user_id);
    tx.audit(entry.detail(detail)).await?;
    job_queue::enqueue(&mut *tx, &NotifyPasswordChanged::to(email.clone()), None).await?;
    tx.commit().await?;
    revoke_access_tokens(ctx, ended, now);
    middleware::invalidate_second_factor(ctx, found.user_id).await;
    clear_failures(ctx, found.old_email, found.user_id).await
}
