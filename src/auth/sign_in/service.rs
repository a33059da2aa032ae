//! Sign-in with a password, and the link that unlocks an account.

use super::lockout::{self, Attempt};
use super::model::{Outcome, SignIn};
use super::second_factor;
use crate::audit::{self, Entry, Event, Origin};
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::opaque_token::OpaqueToken;
use crate::auth::sessions::begin_session;
use crate::infra::{PasswordForm, begin};
use crate::metrics;
use crate::mfa;
use crate::state::AppState;
use crate::users;

/// Begins a session for whoever knows the password and has not tried too often. An unknown address
/// costs as much time as a wrong password: the same look-ups, a hash and a line in the log.
pub(crate) async fn log_in(
    state: &AppState,
    sign_in: SignIn,
    origin: &Origin,
) -> Result<Outcome, Error> {
    let result = try_log_in(state, sign_in, origin).await;
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

async fn try_log_in(state: &AppState, sign_in: SignIn, origin: &Origin) -> Result<Outcome, Error> {
    let found = users::find_credentials(&state.db, &sign_in.email).await?;
    let user_id = found.as_ref().map(|account| account.user_id);
    let attempt = Attempt::begin(state, &sign_in.email, user_id, origin).await?;
    let password = sign_in.password.into_secret();
    let form = if let Some(account) = &found {
        let hash = &account.password_hash;
        state.hasher.verify(password.clone(), hash).await?
    } else {
        state.hasher.verify_nobody(password.clone()).await?;
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
        let mut entry = Entry::befell(Event::SignInRefused, Some(known.user_id), None, origin);
        entry.detail = serde_json::json!({ "reason": reason });
        audit::record(&state.db, entry, state.clock.now(), &state.rng).await?;
        return Err(error);
    }
    if form == PasswordForm::Typed || state.hasher.is_outdated(&known.password_hash) {
        let new = state.hasher.hash(password.prepared).await?;
        users::rehash_password(&state.db, known.user_id, &known.password_hash, &new).await?;
    }
    if mfa::has_second_factor(&state.db, known.user_id).await? {
        let transport = sign_in.transport;
        let challenge =
            second_factor::ask(state, known.user_id, known.version, transport, origin).await?;
        return Ok(Outcome::SecondFactor(challenge));
    }
    let pair = begin_session(state, known.user_id, known.version, origin).await?;
    Ok(Outcome::Session(pair))
}

/// Lets the owner of an account try again, by the link in a letter.
pub(crate) async fn unlock(
    state: &AppState,
    proof: &OpaqueToken,
    origin: &Origin,
) -> Result<(), Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let user_id = links::take_unlock(&mut *tx, proof.hash(), now)
        .await?
        .ok_or(Error::InvalidLink)?;
    let known = users::find_own_credentials(&mut *tx, user_id)
        .await?
        .ok_or(Error::InvalidLink)?;
    let entry = Entry::own(Event::SignInUnlocked, user_id, None, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    lockout::let_back_in(state, known.email, user_id, origin).await
}
