//! Change of an account's address, and its undoing.

use super::jobs::{ConfirmNewEmail, SendEmailUndo, TellEmailChanging, TellPasswordChanged};
use super::model::{EmailChange, EmailUndo};
use super::policy::check_new_password;
use super::reauthentication::{Shown, own, reauthenticate, recheck_proof, spend_own};
use super::store::{self, NewEmailChange};
use crate::audit::{self, Entry, Event, Origin};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::links::Link;
use crate::auth::second_factor_gate;
use crate::auth::sessions::{EndReason, deny_sessions, end_all};
use crate::auth::sign_in::let_back_in;
use crate::ids::{self, UserId};
use crate::infra::{after, begin};
use crate::jobs;
use crate::mfa;
use crate::state::AppState;
use crate::users::{self, EmailAddress};
use crate::web::Principal;

/// How often a claim of an address begins again, because somebody signed up with the address between
/// its two statements.
const CLAIM_ATTEMPTS: usize = 3;

/// Asks the owner of a new address to confirm it; until then the old one stays. Reply and notice are the
/// same for an address that has an account: its owner gets no email.
pub(crate) async fn request_change(
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
pub(crate) async fn apply_email_change(
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
pub(crate) async fn undo_change(
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
    let password = check_new_password(state, undo.password, email, "password").await?;
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
        let ended = end_all(&mut *tx, found.user_id, None, why, now).await?;
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
        deny_sessions(state, ended, now);
        second_factor_gate::forget(state, found.user_id).await;
        return let_back_in(state, found.old_email, found.user_id, origin).await;
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
