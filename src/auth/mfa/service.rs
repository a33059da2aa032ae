//! Second factor of the caller: enable, disable, new recovery codes.

use crypto::TriedPassword;
use sqlx::PgConnection;

use crate::audit::Event;
use crate::auth::credentials::{ReauthProof, check_password, reauthenticate, recheck_proof};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::middleware;
use crate::auth::sessions::{EndReason, end_sessions, revoke_access_tokens};
use crate::ctx::UserCtx;
use crate::ids::{SessionId, UserId};
use crate::mfa::{self, Enrolment, FactorEvent, RecoveryCodes, TotpCode};
use crate::users::{self, CredentialsChange, CredentialsVersion};

pub(crate) async fn begin_enrolment(
    ctx: &UserCtx,
    password: TriedPassword,
) -> Result<Enrolment, Error> {
    let known = check_password(ctx, password.into_secret(), "password").await?;
    let mut tx = ctx.begin().await?;
    recheck_proof(&mut tx, ctx.user_id(), &known).await?;
    let enrolment = mfa::begin(&mut tx, ctx, ctx.user_id(), &known).await?;
    tx.audit(Event::SecondFactorBegun).await?;
    tx.commit().await?;
    Ok(enrolment)
}

/// Ends the other sessions, which have not proved the factor.
pub(crate) async fn confirm(ctx: &UserCtx, code: &TotpCode) -> Result<RecoveryCodes, Error> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    // Account before factor, as everywhere, against deadlocks.
    let version = users::lock_credentials(&mut *tx, ctx.user_id())
        .await?
        .ok_or(Error::Unauthenticated)?;
    let mut codes = None;
    let mut ended: Vec<SessionId> = Vec::new();
    if mfa::verify_pending(&mut tx, ctx, ctx.user_id(), version, code).await? {
        let change = change_at(&mut tx, ctx.user_id(), version).await?;
        codes = Some(mfa::confirm(&mut tx, ctx, &change).await?);
        let (kept, why) = (Some(ctx.session_id()), EndReason::EndedRemotely);
        ended = end_sessions(&mut *tx, &change, kept, why, now).await?;
    }
    let event = match codes {
        Some(_) => Event::SecondFactorOn,
        None => Event::SecondFactorFailed,
    };
    tx.audit(event).await?;
    tx.commit().await?;
    revoke_access_tokens(ctx, ended, now);
    codes.ok_or(mfa::Error::WrongCode("code").into())
}

pub(crate) async fn turn_off(ctx: &UserCtx, both: ReauthProof) -> Result<(), Error> {
    let known = reauthenticate(ctx, both).await?;
    let mut tx = ctx.begin().await?;
    let change = change_at(&mut tx, ctx.user_id(), known.version).await?;
    mfa::turn_off(&mut tx, &change, FactorEvent::TurnedOff).await?;
    tx.audit(Event::SecondFactorOff).await?;
    tx.commit().await?;
    middleware::invalidate_second_factor(ctx, ctx.user_id()).await;
    Ok(())
}

/// Requires both factors: otherwise new recovery codes would bypass the second one.
pub(crate) async fn renew_codes(ctx: &UserCtx, both: ReauthProof) -> Result<RecoveryCodes, Error> {
    let known = reauthenticate(ctx, both).await?;
    let mut tx = ctx.begin().await?;
    let change = change_at(&mut tx, ctx.user_id(), known.version).await?;
    let codes = mfa::renew_codes(&mut tx, ctx, &change).await?;
    tx.audit(Event::RecoveryCodesRenewed).await?;
    tx.commit().await?;
    Ok(codes)
}

async fn change_at(
    tx: &mut PgConnection,
    user_id: UserId,
    proven: CredentialsVersion,
) -> Result<CredentialsChange, Error> {
    begin_credentials_change(tx, user_id, Some(proven))
        .await?
        .ok_or(Error::CredentialsChanged)
}
