//! Forgotten and changed passwords: what proves that somebody is the owner, and what ends because of it.

use super::attempts;
use super::credentials::begin_credentials_change;
use super::error::Error;
use super::jobs::TellPasswordChanged;
use super::model::{EndReason, PasswordChange, PasswordReset};
use super::policy;
use super::reauthentication::{Shown, reauthenticate};
use super::session::deny;
use super::store;
use super::token::OpaqueToken;
use crate::audit::{self, Entry, Event, Origin};
use crate::infra::begin;
use crate::jobs;
use crate::state::AppState;
use crate::users;
use crate::web::Principal;

/// Sets a new password by the link in a letter. Whoever was signed in is not any more.
pub(super) async fn reset_password(
    state: &AppState,
    reset: PasswordReset,
    origin: &Origin,
) -> Result<(), Error> {
    // Looked at before anything is hashed, so that junk costs a look-up and no more.
    let link = store::find_reset(&state.db, reset.token.hash(), state.clock.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    let user_id = link.user_id;
    let known = users::find_own_credentials(&state.db, user_id)
        .await?
        .ok_or(Error::InvalidLink)?;
    let password = policy::admit(state, reset.password, &known.email, "password").await?;
    let hash = state.hasher.hash(password).await?;
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let change = begin_credentials_change(&mut tx, user_id, Some(link.version))
        .await?
        .ok_or(Error::InvalidLink)?;
    // The letter arrived, so the address is its owner's.
    let email = users::reset_password_hash(&mut *tx, &change, &hash, now)
        .await?
        .ok_or(Error::InvalidLink)?;
    let ended =
        store::end_sessions(&mut *tx, user_id, None, EndReason::PasswordChanged, now).await?;
    let entry = Entry::own(Event::PasswordReset, user_id, None, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    jobs::enqueue(&mut *tx, &TellPasswordChanged::to(email), None).await?;
    tx.commit().await?;
    deny(state, ended, now);
    attempts::let_back_in(state, known.email, user_id, origin).await
}

/// Lets the owner of an account try again, by the link in a letter.
pub(super) async fn unlock(
    state: &AppState,
    proof: &OpaqueToken,
    origin: &Origin,
) -> Result<(), Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let user_id = store::take_unlock(&mut *tx, proof.hash(), now)
        .await?
        .ok_or(Error::InvalidLink)?;
    let known = users::find_own_credentials(&mut *tx, user_id)
        .await?
        .ok_or(Error::InvalidLink)?;
    let entry = Entry::own(Event::SignInUnlocked, user_id, None, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    attempts::let_back_in(state, known.email, user_id, origin).await
}

/// Sets a new password for whoever knows the present one. Other sessions end, this one goes on.
pub(super) async fn change_password(
    state: &AppState,
    me: Principal,
    change: PasswordChange,
    origin: &Origin,
) -> Result<(), Error> {
    let PasswordChange {
        current_password,
        new_password,
        code,
        recovery_code,
    } = change;
    let shown = Shown::new("current_password", current_password, code, recovery_code)?;
    let known = reauthenticate(state, me, shown, origin).await?;
    let password = policy::admit(state, new_password, &known.email, "new_password").await?;
    let hash = state.hasher.hash(password).await?;
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    // Of two that race, the second proved the password that the first has just replaced.
    let change = begin_credentials_change(&mut tx, me.user_id, Some(known.version))
        .await?
        .ok_or(Error::WrongPassword("current_password"))?;
    users::set_password_hash(&mut *tx, &change, &hash).await?;
    let reason = EndReason::PasswordChanged;
    let ended = store::end_sessions(&mut *tx, me.user_id, Some(me.session_id), reason, now).await?;
    let entry = Entry::own(
        Event::PasswordChanged,
        me.user_id,
        Some(me.session_id),
        origin,
    );
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    jobs::enqueue(&mut *tx, &TellPasswordChanged::to(known.email), None).await?;
    tx.commit().await?;
    deny(state, ended, now);
    Ok(())
}
