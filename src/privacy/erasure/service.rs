//! The request to delete an account, and its cancellation.

use chrono::{DateTime, Utc};
use clock::after;
use serde_json::json;
use uuid::Builder;

use super::error::Error;
use super::jobs::NotifyDeletion;
use super::model::{
    AccountDeletion, DeletionCancellation, DeletionEvent, NewDeletion, PendingDeletion,
    is_last_admin,
};
use super::store;
use crate::audit::Event;
use crate::auth::{self, EndReason, ReauthProof, SignInProof};
use crate::ctx::{Ctx, Tx, UserCtx};
use crate::ids::{AccountId, SessionId, UserId};
use crate::scope::{self, Exception, Scope};
use crate::users::{self, CredentialsVersion};
use crate::{api_keys, organisations};

pub(super) async fn request(
    ctx: &UserCtx,
    deletion: AccountDeletion,
) -> Result<PendingDeletion, Error> {
    let (code, recovery_code) = (deletion.code, deletion.recovery_code);
    let proof = ReauthProof::new("password", deletion.password, code, recovery_code)?;
    let known = auth::reauthenticate(ctx, proof).await?;
    let now = ctx.now();
    let erase_at = after(now, ctx.erasure.grace);
    let mut tx = ctx
        .begin_scoped(Scope::Exception(Exception::Membership))
        .await?;
    let user_id = ctx.user_id();
    let ended = begin(&mut tx, user_id, Some(known.version), erase_at).await?;
    tx.commit().await?;
    auth::revoke_access_tokens(ctx, ended, now);
    Ok(PendingDeletion { erase_at })
}

/// Ends all sessions, revokes API keys and deletes emails that wait, in the transaction of the request. Returns the
/// sessions that have ended.
pub(super) async fn begin(
    tx: &mut Tx<'_>,
    user_id: UserId,
    proven: Option<CredentialsVersion>,
    erase_at: DateTime<Utc>,
) -> Result<Vec<SessionId>, Error> {
    let (ctx, now) = (tx.ctx(), tx.ctx().now());
    organisations::lock_owned(&mut **tx, user_id).await?;
    let (account, admins) = users::lock_account_and_admins(&mut **tx, user_id).await?;
    if is_last_admin(&account, &admins) {
        return Err(Error::LastAdmin);
    }
    let solely_owned = organisations::list_solely_owned(&mut **tx, user_id, 1).await?;
    if !solely_owned.is_empty() {
        return Err(Error::LastOwner);
    }
    let change = auth::begin_credentials_change(tx, user_id, proven)
        .await?
        .ok_or(auth::Error::CredentialsChanged)?;
    users::set_erase_at(&mut **tx, &change, Some(erase_at), now).await?;
    let why = EndReason::AccountDisabled;
    let ended = auth::end_sessions(&mut **tx, &change, None, why, now).await?;
    scope::set(&mut **tx, Scope::Exception(Exception::Authentication)).await?;
    let keys = api_keys::revoke_personal(&mut **tx, user_id, now).await?;
    let recipient = [user_id.to_string(), account.email.as_str().to_owned()];
    let fields = ["user_id", "email"].map(str::to_owned);
    job_queue::delete_jobs(&mut **tx, &recipient, Some(&fields)).await?;
    let new = NewDeletion {
        user_id,
        erase_at,
        books_id: AccountId(Builder::from_random_bytes(ctx.rng.bytes()).into_uuid()),
        is_notified: account.email_verified_at.is_some(),
    };
    store::insert(&mut **tx, new, now).await?;
    let detail = json!({ "erase_at": erase_at, "sessions": ended.len(), "api_keys": keys });
    let entry = Event::AccountDeletionRequested.about(user_id);
    tx.audit(entry.detail(detail)).await?;
    if new.is_notified {
        let job = NotifyDeletion::to(user_id, DeletionEvent::Requested, erase_at);
        job_queue::enqueue(&mut **tx, &job, None).await?;
    }
    Ok(ended)
}

/// Without effect if no deletion is pending.
pub(super) async fn cancel(ctx: &Ctx, request: DeletionCancellation) -> Result<(), Error> {
    let proof = SignInProof {
        email: request.email,
        password: request.password,
        code: request.code,
        recovery_code: request.recovery_code,
    };
    let known = auth::prove(ctx, proof).await?;
    let Some(erase_at) = known.erase_at else {
        return Ok(());
    };
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let change = auth::begin_credentials_change(&mut tx, known.user_id, Some(known.version))
        .await?
        .ok_or(auth::Error::CredentialsChanged)?;
    users::set_erase_at(&mut *tx, &change, None, now).await?;
    store::delete(&mut *tx, known.user_id).await?;
    tx.audit(Event::AccountDeletionCanceled.by(known.user_id))
        .await?;
    let job = NotifyDeletion::to(known.user_id, DeletionEvent::Canceled, erase_at);
    job_queue::enqueue(&mut *tx, &job, None).await?;
    tx.commit().await?;
    Ok(())
}
