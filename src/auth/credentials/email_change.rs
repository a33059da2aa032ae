//! Proof of addresses: confirming a sign-up, changing the address of an account, and undoing that.

use super::attempts;
use super::credentials::begin_credentials_change;
use super::error::Error;
use super::jobs::{ConfirmNewEmail, SendEmailUndo, TellEmailChanging, TellPasswordChanged};
use super::model::{AddressProof, EmailChange, EmailUndo, EndReason};
use super::password::TriedPassword;
use super::policy;
use super::reauthentication::{Shown, own, reauthenticate, recheck_proof, spend_own};
use super::second_factor_gate;
use super::session::deny;
use super::store::{self, Link, NewEmailChange};
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::{self, UserId};
use crate::infra::{after, begin};
use crate::jobs;
use crate::mfa;
use crate::state::AppState;
use crate::users::{self, EmailAddress, SignUpCredentials};
use crate::web::Principal;

/// How often a claim of an address begins again, because somebody signed up with the address between
/// its two statements.
const CLAIM_ATTEMPTS: usize = 3;

/// Takes the link in an email as proof that the address is its owner's.
pub(super) async fn verify_email(
    state: &AppState,
    proof: AddressProof,
    origin: &Origin,
) -> Result<(), Error> {
    let link = store::find_address_link(&state.db, proof.token.hash(), state.clock.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    match &link.new_email {
        Some(email) => apply_change(state, &link, email, origin).await,
        None => confirm_sign_up(state, &link, proof.password, origin).await,
    }
}

/// Makes the credentials of one sign-up the account's. A link shows whose the address is, and not which
/// of several sign-ups is theirs: a stranger's may be the first one or the last. So where several wait,
/// the password says which.
async fn confirm_sign_up(
    state: &AppState,
    link: &Link,
    password: Option<TriedPassword>,
    origin: &Origin,
) -> Result<(), Error> {
    let pending = users::list_sign_ups(&state.db, link.user_id).await?;
    let is_chosen = password.is_some();
    let chosen = choose(state, pending, password).await?;
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let change = begin_credentials_change(&mut tx, link.user_id, Some(link.version))
        .await?
        .ok_or(Error::InvalidLink)?;
    // The row is locked now, so that no other sign-up is added any more.
    let pending = users::list_sign_ups(&mut *tx, link.user_id).await?;
    if !is_chosen && pending.len() > 1 {
        return Err(Error::PasswordRequired("password"));
    }
    let is_pending = |it: &SignUpCredentials| it.password_hash == chosen.password_hash;
    if !pending.iter().any(is_pending)
        || !users::confirm_sign_up(&mut *tx, &change, &chosen, now).await?
    {
        return Err(Error::InvalidLink);
    }
    let entry = Entry::own(Event::EmailVerified, link.user_id, None, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    Ok(())
}

/// The sign-up that the password is of; without one, the only sign-up there is.
async fn choose(
    state: &AppState,
    mut pending: Vec<SignUpCredentials>,
    password: Option<TriedPassword>,
) -> Result<SignUpCredentials, Error> {
    let Some(password) = password else {
        return match (pending.pop(), pending.is_empty()) {
            (None, _) => Err(Error::InvalidLink),
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(Error::PasswordRequired("password")),
        };
    };
    let password = password.into_secret();
    for sign_up in pending {
        let is_right = state
            .hasher
            .verify(password.clone(), &sign_up.password_hash);
        if is_right.await?.is_some() {
            return Ok(sign_up);
        }
    }
    Err(Error::WrongPassword("password"))
}

/// Asks the owner of a new address to confirm it; until then the old one stays. Reply and notice are the
/// same for an address that has an account: its owner gets no email.
pub(super) async fn request_change(
    state: &AppState,
    me: Principal,
    change: EmailChange,
    origin: &Origin,
) -> Result<(), Error> {
    let shown = Shown::new(
        "password",
        change.password,
        change.code,
        change.recovery_code,
    )?;
    let known = reauthenticate(state, me, shown, origin).await?;
    spend_own(state, me, state.limits.email_change).await?;
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    recheck_proof(&mut tx, me, &known).await?;
    let job = ConfirmNewEmail::to(me.user_id, change.email, known.version, Some(now));
    // By account as well: two accounts that ask for one address do not replace each other's request.
    let key = format!("{}:{}", job.key(), me.user_id.0);
    jobs::enqueue(&mut *tx, &job, Some(&key)).await?;
    // Enqueued here and not when the address was looked up, so that it does not tell what was found.
    jobs::enqueue(&mut *tx, &TellEmailChanging::to(known.email), None).await?;
    let entry = own(Event::EmailChangeRequested, me, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives an account the address that its owner has proved by a link.
async fn apply_change(
    state: &AppState,
    link: &Link,
    email: &EmailAddress,
    origin: &Origin,
) -> Result<(), Error> {
    let now = state.clock.now();
    for _ in 0..CLAIM_ATTEMPTS {
        let mut tx = begin(&state.db).await?;
        let displaced = users::claim_address(&mut tx, link.user_id, email).await?;
        let change = begin_credentials_change(&mut tx, link.user_id, Some(link.version))
            .await?
            .ok_or(Error::InvalidLink)?;
        let old_email = match users::change_email(&mut *tx, &change, email, now).await {
            Ok(old_email) => old_email,
            Err(users::Error::EmailTaken) => {
                tx.rollback().await?;
                if users::is_address_taken(&state.db, email).await? {
                    break; // to its owner this is a link like any other that does not work any more
                }
                continue;
            }
            Err(users::Error::NotFound) => break,
            Err(users::Error::Database(error)) => return Err(error.into()),
        };
        record_displaced(&mut tx, state, displaced, origin).await?;
        let undo = NewEmailChange {
            id: ids::uuid_v7(now, &state.rng),
            user_id: link.user_id,
            old_email,
            requested_at: link.created_at,
            expires_at: after(now, state.auth.email_undo_ttl),
        };
        store::insert_email_change(&mut *tx, &undo, now).await?;
        jobs::enqueue(&mut *tx, &SendEmailUndo::of(undo.id), None).await?;
        let entry = Entry::own(Event::EmailChanged, link.user_id, None, origin);
        audit::record(&mut *tx, entry, now, &state.rng).await?;
        tx.commit().await?;
        return Ok(());
    }
    Err(Error::InvalidLink)
}

/// Restores the address that an account had before a change, by the link that was sent there, and with
/// it whose account it is: a new password is set, all sessions end, and what was added since the change
/// was asked for is revoked: API keys, a second factor and recovery codes. A second factor from before
/// stays, so that somebody who only reads the old mailbox does not get into the account.
pub(super) async fn undo_change(
    state: &AppState,
    undo: EmailUndo,
    origin: &Origin,
) -> Result<(), Error> {
    let token = undo.token.hash();
    // Looked at before anything is hashed, so that junk costs a look-up and no more.
    let found = store::find_email_change(&state.db, token, state.clock.now())
        .await?
        .ok_or(Error::InvalidLink)?;
    let email = &found.old_email;
    let password = policy::admit(state, undo.password, email, "password").await?;
    let hash = state.hasher.hash(password).await?;
    let now = state.clock.now();
    for _ in 0..CLAIM_ATTEMPTS {
        let mut tx = begin(&state.db).await?;
        let displaced = users::claim_address(&mut tx, found.user_id, email).await?;
        let change = begin_credentials_change(&mut tx, found.user_id, None)
            .await?
            .ok_or(Error::InvalidLink)?;
        if !store::take_email_change(&mut *tx, found.user_id, token, now).await? {
            return Err(Error::InvalidLink);
        }
        match users::change_email(&mut *tx, &change, email, now).await {
            Ok(_) => {}
            Err(users::Error::EmailTaken) => {
                tx.rollback().await?;
                if users::is_address_taken(&state.db, email).await? {
                    return Err(Error::AddressTaken);
                }
                continue;
            }
            Err(users::Error::NotFound) => return Err(Error::InvalidLink),
            Err(users::Error::Database(error)) => return Err(error.into()),
        }
        users::set_password_hash(&mut *tx, &change, &hash).await?;
        let why = EndReason::PasswordChanged;
        let ended = store::end_sessions(&mut *tx, found.user_id, None, why, now).await?;
        let since = found.requested_at;
        let keys = store::revoke_keys_since(&mut *tx, found.user_id, since, now).await?;
        let factor = mfa::remove_since(&mut tx, &change, since).await?;
        record_displaced(&mut tx, state, displaced, origin).await?;
        let mut entry = Entry::own(Event::EmailChangeUndone, found.user_id, None, origin);
        entry.detail = serde_json::json!({
            "sessions": ended.len(), "api_keys": keys, "second_factor_removed": factor,
        });
        audit::record(&mut *tx, entry, now, &state.rng).await?;
        jobs::enqueue(&mut *tx, &TellPasswordChanged::to(email.clone()), None).await?;
        tx.commit().await?;
        deny(state, ended, now);
        second_factor_gate::forget(state, found.user_id).await;
        return attempts::let_back_in(state, found.old_email, found.user_id, origin).await;
    }
    Err(Error::AddressTaken)
}

/// Records the end of an account that nobody confirmed, whose address somebody else has proved.
async fn record_displaced(
    tx: &mut sqlx::PgConnection,
    state: &AppState,
    displaced: Option<UserId>,
    origin: &Origin,
) -> Result<(), Error> {
    let Some(displaced) = displaced else {
        return Ok(());
    };
    let mut entry = Entry::befell(Event::UnverifiedPurged, Some(displaced), None, origin);
    entry.detail = serde_json::json!({ "reason": "address_proved_by_another_account" });
    audit::record(tx, entry, state.clock.now(), &state.rng).await?;
    Ok(())
}
