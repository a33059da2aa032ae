//! Sign-in with a password, and the link that unlocks an account.

use crypto::PasswordForm;
use serde_json::json;
use session_tokens::OpaqueToken;

use super::lockout::{self, Attempt};
use super::model::{Outcome, SignIn};
use super::second_factor;
use crate::audit::Event;
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::sessions::begin_session;
use crate::ctx::Ctx;
use crate::metrics;
use crate::mfa;
use crate::users;

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
        Err(Error::Busy(_)) => metrics::SignIn::Busy,
        Err(_) => metrics::SignIn::Failed,
    });
    result
}

async fn try_log_in(ctx: &Ctx, sign_in: SignIn) -> Result<Outcome, Error> {
    let found = users::find_credentials(&ctx.db, &sign_in.email).await?;
    let user_id = found.as_ref().map(|account| account.user_id);
    let attempt = Attempt::begin(ctx, &sign_in.email, user_id).await?;
    let password = sign_in.password.into_secret();
    let form = if let Some(account) = &found {
        let hash = &account.password_hash;
        ctx.hasher.verify(password.clone(), hash).await?
    } else {
        ctx.hasher.verify_dummy(password.clone()).await?;
        None
    };
    let (Some(known), Some(form)) = (&found, form) else {
        return Err(attempt.fail().await?);
    };
    attempt.succeed().await?;
    let refused = match known {
        account if account.is_disabled => Some(("disabled", Error::AccountDisabled)),
        account if !account.is_verified => Some(("not_verified", Error::EmailNotVerified)),
        _ => None,
    };
    if let Some((reason, error)) = refused {
        let entry = Event::SignInRefused.about(known.user_id);
        ctx.audit(entry.detail(json!({ "reason": reason }))).await?;
        return Err(error);
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
