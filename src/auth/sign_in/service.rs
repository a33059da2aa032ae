//! Sign-in with a password, and the link that unlocks an account.

use crypto::{PasswordForm, PasswordForms};
use email_transport::EmailAddress;
use serde_json::json;
use session_tokens::OpaqueToken;

use super::lockout::{self, Attempt};
use super::model::{Outcome, SignIn, SignInProof};
use super::second_factor;
use crate::audit::Event;
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::sessions::begin_session;
use crate::ctx::Ctx;
use crate::metrics;
use crate::mfa::{self, Proof};
use crate::users::{self, Credentials};

/// An unknown address takes as long as a wrong password: the same queries, a hash and an audit entry.
pub(crate) async fn log_in(ctx: &Ctx, sign_in: SignIn) -> Result<Outcome, Error> {
    let result = try_log_in(ctx, sign_in).await;
    metrics::count_sign_in(match &result {
        Ok(Outcome::Session(_)) => metrics::SignIn::SignedIn,
        Ok(Outcome::SecondFactor(_)) => metrics::SignIn::Asked,
        Err(Error::InvalidCredentials) => metrics::SignIn::Refused,
        Err(Error::TooManyAttempts(_)) => metrics::SignIn::Locked,
        Err(Error::EmailNotVerified) => metrics::SignIn::Unverified,
        Err(Error::AccountDisabled) => metrics::SignIn::Disabled,
        Err(Error::DeletionPending(_)) => metrics::SignIn::DeletionPending,
        Err(Error::Busy(_) | Error::Occupied) => metrics::SignIn::Busy,
        Err(_) => metrics::SignIn::Failed,
    });
    result
}

async fn try_log_in(ctx: &Ctx, sign_in: SignIn) -> Result<Outcome, Error> {
    let password = sign_in.password.into_secret();
    let (known, form) = check_credentials(ctx, &sign_in.email, password.clone()).await?;
    if let Some(at) = known.erase_at {
        return refuse(ctx, &known, "deletion_pending", Error::DeletionPending(at)).await;
    }
    if form == PasswordForm::Typed || ctx.hasher.is_outdated(&known.password_hash) {
        let new = ctx.hasher.hash(password.prepared).await?;
        users::rehash_password(&ctx.db, known.user_id, &known.password_hash, &new).await?;
    }
    if mfa::has_second_factor(&ctx.db, known.user_id).await? {
        let transport = sign_in.transport;
        let challenge = second_factor::ask(ctx, known.user_id, known.version, transport).await?;
        return Ok(Outcome::SecondFactor(challenge));
    }
    let pair = begin_session(ctx, known.user_id, known.version).await?;
    Ok(Outcome::Session(pair))
}

/// Verifies the password of an enabled account, within the limits of sign-in.
async fn check_credentials(
    ctx: &Ctx,
    email: &EmailAddress,
    password: PasswordForms,
) -> Result<(Credentials, PasswordForm), Error> {
    let found = users::find_credentials(&ctx.db, email).await?;
    let user_id = found.as_ref().map(|account| account.user_id);
    let attempt = Attempt::begin(ctx, email, user_id).await?;
    let form = if let Some(account) = &found {
        ctx.hasher.verify(password, &account.password_hash).await?
    } else {
        ctx.hasher.verify_dummy(password).await?;
        None
    };
    let (Some(known), Some(form)) = (found, form) else {
        return Err(attempt.fail().await?);
    };
    attempt.succeed().await?;
    if known.is_disabled {
        return refuse(ctx, &known, "disabled", Error::AccountDisabled).await;
    }
    if !known.is_verified {
        return refuse(ctx, &known, "not_verified", Error::EmailNotVerified).await;
    }
    Ok((known, form))
}

/// Records that a right password was refused.
async fn refuse<T>(ctx: &Ctx, known: &Credentials, reason: &str, error: Error) -> Result<T, Error> {
    let entry = Event::SignInRefused.about(known.user_id);
    ctx.audit(entry.detail(json!({ "reason": reason }))).await?;
    Err(error)
}

/// Verifies both factors of somebody who cannot have a session, as a sign-in does: with the same limits, and with the
/// same response to an unknown address. Returns the credentials that were proved.
pub async fn prove(ctx: &Ctx, proof: SignInProof) -> Result<Credentials, Error> {
    let (code, recovery_code) = (proof.code, proof.recovery_code);
    let second = Proof::at_most_one_of(code, recovery_code).map_err(mfa::Error::from)?;
    let password = proof.password.into_secret();
    let (known, _) = check_credentials(ctx, &proof.email, password).await?;
    let user_id = known.user_id;
    let Some(second) = second else {
        return if mfa::has_second_factor(&ctx.db, user_id).await? {
            Err(mfa::Error::CodeRequired.into())
        } else {
            Ok(known)
        };
    };
    let mut tx = ctx.begin().await?;
    let is_right = match mfa::verify(&mut tx, ctx, user_id, &second).await {
        Err(mfa::Error::NotEnabled) => return Ok(known),
        result => result?,
    };
    match &second {
        _ if !is_right => {
            let entry = Event::SecondFactorFailed.about(user_id);
            let detail = json!({ "field": second.field() });
            tx.audit(entry.detail(detail)).await?;
        }
        Proof::Recovery(_) => tx.audit(Event::RecoveryCodeUsed.by(user_id)).await?,
        Proof::Totp(_) => {}
    }
    tx.commit().await?; // a wrong code counts
    if !is_right {
        return Err(mfa::Error::WrongCode(second.field()).into());
    }
    Ok(known)
}

pub(crate) async fn unlock(ctx: &Ctx, proof: &OpaqueToken) -> Result<(), Error> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let user_id = links::use_unlock(&mut *tx, proof.hash(), now)
        .await?
        .ok_or(Error::InvalidLink)?;
    let known = users::find_own_credentials(&mut *tx, user_id)
        .await?
        .ok_or(Error::InvalidLink)?;
    tx.audit(Event::SignInUnlocked.by(user_id)).await?;
    tx.commit().await?;
    lockout::clear_failures(ctx, known.email, user_id).await
}
