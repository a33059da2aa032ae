//! Second factor: turning it on and off, and verifying codes. Every function runs in the caller's transaction, and
//! the caller writes the audit entry.

use chrono::{DateTime, TimeDelta, Utc};
use crypto::OpenError;
use mfa_codes::{Proof, RecoveryCode, TotpCode, TotpSecret, qr_svg};
use sqlx::PgConnection;

use super::error::Error;
use super::jobs::{FactorEvent, NotifySecondFactor};
use super::model::{Enrolment, RecoveryCodes};
use super::store::{self, Factor};
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::sealed::TOTP_SECRETS;
use crate::state::AppState;
use crate::users::{CredentialsChange, CredentialsVersion, OwnCredentials};

const CODES: usize = 10;

/// How long an authenticator can be confirmed.
const PENDING: TimeDelta = TimeDelta::hours(1);

/// Minimum interval of emails about wrong codes.
const WARNED_EVERY: TimeDelta = TimeDelta::days(1);

/// Adds an authenticator, which has no effect until it is confirmed.
pub async fn begin(
    conn: &mut PgConnection,
    state: &AppState,
    owner: UserId,
    proven: &OwnCredentials,
) -> Result<Enrolment, Error> {
    let secret = TotpSecret::new(&state.rng);
    let sealed = TOTP_SECRETS.seal(state, &[owner.0], secret.expose());
    if !store::insert_pending(conn, owner, proven.version, &sealed, state.clock.now()).await? {
        return Err(Error::AlreadyEnabled);
    }
    let otpauth_url = secret.otpauth_url(&state.mail.product_name, proven.email.as_str());
    Ok(Enrolment {
        secret: secret.to_base32(),
        qr_svg: qr_svg(&otpauth_url)?,
        otpauth_url,
    })
}

/// Verifies a code of the pending authenticator that was added under this version of the credentials. A wrong
/// code counts, so the caller commits in either case.
pub async fn verify_pending(
    conn: &mut PgConnection,
    ctx: &Ctx,
    owner: UserId,
    version: CredentialsVersion,
    code: &TotpCode,
) -> Result<bool, Error> {
    let now = ctx.now();
    let waiting = store::lock(&mut *conn, owner).await?;
    let is_fresh = |factor: &Factor| factor.version == version && now - factor.created_at < PENDING;
    let factor = waiting
        .filter(|factor| factor.is_confirmed || is_fresh(factor))
        .ok_or(Error::NoPendingAuthenticator)?;
    if factor.is_confirmed {
        return Err(Error::AlreadyEnabled);
    }
    verify_code(conn, ctx, owner, &factor, code, now).await
}

/// Enables the pending authenticator, and returns recovery codes.
pub async fn confirm(
    conn: &mut PgConnection,
    state: &AppState,
    change: &CredentialsChange,
) -> Result<RecoveryCodes, Error> {
    let owner = change.user_id();
    store::confirm(&mut *conn, owner, state.clock.now()).await?;
    notify(&mut *conn, owner, FactorEvent::TurnedOn).await?;
    renew_codes(conn, state, change).await
}

/// Verifies a second factor. A wrong code counts, so the caller commits in either case.
pub async fn verify(
    conn: &mut PgConnection,
    ctx: &Ctx,
    owner: UserId,
    proof: &Proof,
) -> Result<bool, Error> {
    let now = ctx.now();
    let factor = store::lock(&mut *conn, owner).await?;
    let factor = factor
        .filter(|it| it.is_confirmed)
        .ok_or(Error::NotEnabled)?;
    match proof {
        Proof::Totp(code) => verify_code(conn, ctx, owner, &factor, code, now).await,
        // Not limited like codes of six digits: 120 bits cannot be guessed, and an owner locked out by a
        // stranger's guesses can sign in with one.
        Proof::Recovery(code) => {
            let is_right = store::use_code(&mut *conn, owner, code.hash(), now).await?;
            if is_right {
                notify(conn, owner, FactorEvent::RecoveryCodeUsed).await?;
            }
            Ok(is_right)
        }
    }
}

/// Deletes the second factor and emails the owner; returns false if the account has none.
pub async fn turn_off(
    conn: &mut PgConnection,
    change: &CredentialsChange,
    event: FactorEvent,
) -> Result<bool, sqlx::Error> {
    let owner = change.user_id();
    let was_on = store::delete(&mut *conn, owner, None).await?;
    if was_on {
        notify(conn, owner, event).await?;
    }
    Ok(was_on)
}

/// Removes an authenticator that was added or turned on since then, and recovery codes created since. Returns
/// whether that authenticator was on.
pub async fn remove_since(
    conn: &mut PgConnection,
    change: &CredentialsChange,
    since: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    store::delete(conn, change.user_id(), Some(since)).await
}

/// Replaces the recovery codes.
pub async fn renew_codes(
    conn: &mut PgConnection,
    state: &AppState,
    change: &CredentialsChange,
) -> Result<RecoveryCodes, Error> {
    let codes: Vec<_> = (0..CODES).map(|_| RecoveryCode::new(&state.rng)).collect();
    let hashes: Vec<_> = codes.iter().map(|code| code.hash().to_vec()).collect();
    store::replace_codes(conn, change.user_id(), &hashes, state.clock.now()).await?;
    Ok(RecoveryCodes {
        recovery_codes: codes.iter().map(RecoveryCode::encode).collect(),
    })
}

/// Checks the number of wrong codes first, and that the code was not used before.
async fn verify_code(
    conn: &mut PgConnection,
    ctx: &Ctx,
    owner: UserId,
    factor: &Factor,
    code: &TotpCode,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let most = ctx.mfa.failures_per_hour as usize;
    if let Some(wait) = factor.failures.wait(most, now) {
        return Err(Error::TooManyFailures(wait.to_std().unwrap_or_default()));
    }
    let (account_id, row) = (owner.personal_account(), [owner.0]);
    let opened = TOTP_SECRETS
        .open(ctx, account_id, &row, &factor.secret)
        .await?;
    let Some(secret) = TotpSecret::of(opened.expose()) else {
        return Err(TOTP_SECRETS
            .report(ctx, account_id, OpenError::Damaged)
            .await
            .into());
    };
    if let Some(step) = secret.step_of(code, now)
        && store::use_step(&mut *conn, owner, step).await?
    {
        return Ok(true);
    }
    let failures = factor.failures.and_now(now);
    let mut warned_at = factor.warned_at;
    let is_due = warned_at.is_none_or(|at| now - at >= WARNED_EVERY);
    if factor.is_confirmed && is_due && failures.wait(most, now).is_some() {
        notify(conn, owner, FactorEvent::TooManyFailures).await?;
        warned_at = Some(now);
    }
    store::update_failures(&mut *conn, owner, &failures, warned_at).await?;
    Ok(false)
}

async fn notify(
    conn: &mut PgConnection,
    owner: UserId,
    event: FactorEvent,
) -> Result<(), sqlx::Error> {
    job_queue::enqueue(&mut *conn, &NotifySecondFactor::to(owner, event), None).await
}
