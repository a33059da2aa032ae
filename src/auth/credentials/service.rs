//! Reset and change of a password.

use super::jobs::TellPasswordChanged;
use super::model::{PasswordChange, PasswordReset};
use super::policy::check_new_password;
use super::reauthentication::{Shown, reauthenticate};
use crate::audit::{self, Entry, Event, Origin};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::links;
use crate::auth::sessions::{EndReason, deny_sessions, end_all};
use crate::auth::sign_in::let_back_in;
use crate::infra::begin;
use crate::jobs;
use crate::state::AppState;
use crate::users;
use crate::web::Principal;

/// Sets a new password by the link in a letter. Whoever was signed in is not any more.
pub(crate) async fn reset_password(
    state: &AppState,
    reset: PasswordReset,
    origin: &Origin,
) -> Result<(), Error> {
    // Looked at before anything is hashed, so that junk costs a look-up and no more.
    let link = links::find_reset(&state.db, reset.token.hash(), state.clock.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    let user_id = link.user_id;
    let known = users::find_own_credentials(&state.db, user_id)
        .await?
        .ok_or(Error::InvalidLink)?;
    let password = check_new_password(state, reset.password, &known.email, "password").await?;
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
    let ended = end_all(&mut *tx, user_id, None, EndReason::PasswordChanged, now).await?;
    let entry = Entry::own(Event::PasswordReset, user_id, None, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    jobs::enqueue(&mut *tx, &TellPasswordChanged::to(email), None).await?;
    tx.commit().await?;
    deny_sessions(state, ended, now);
    let_back_in(state, known.email, user_id, origin).await
}

/// Sets a new password for whoever knows the present one. Other sessions end, this one goes on.
pub(crate) async fn change_password(
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
    let password = check_new_password(state, new_password, &known.email, "new_password").await?;
    let hash = state.hasher.hash(password).await?;
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    // Of two that race, the second proved the password that the first has just replaced.
    let change = begin_credentials_change(&mut tx, me.user_id, Some(known.version))
        .await?
        .ok_or(Error::WrongPassword("current_password"))?;
    users::set_password_hash(&mut *tx, &change, &hash).await?;
    let reason = EndReason::PasswordChanged;
    let ended = end_all(&mut *tx, me.user_id, Some(me.session_id), reason, now).await?;
    let entry = Entry::own(
        Event::PasswordChanged,
        me.user_id,
        Some(me.session_id),
        origin,
    );
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    jobs::enqueue(&mut *tx, &TellPasswordChanged::to(known.email), None).await?;
    tx.commit().await?;
    deny_sessions(state, ended, now);
    Ok(())
}
