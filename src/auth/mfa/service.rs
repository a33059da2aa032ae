//! Turning the second factor on and off, and new recovery codes.

use sqlx::PgConnection;

use crate::audit::{self, Event, Origin};
use crate::auth::credentials::{check_password, is_shown, own, recheck_proof};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::password::TriedPassword;
use crate::auth::second_factor_gate;
use crate::auth::sessions::{EndReason, deny_sessions, end_all};
use crate::ids::SessionId;
use crate::infra::begin;
use crate::mfa::{self, Enrolment, Proof, RecoveryCodes, TotpCode};
use crate::state::AppState;
use crate::users::{self, CredentialsChange, CredentialsVersion, OwnCredentials};
use crate::web::Principal;

/// Begins to add an authenticator.
pub(crate) async fn begin_enrolment(
    state: &AppState,
    me: Principal,
    password: TriedPassword,
    origin: &Origin,
) -> Result<Enrolment, Error> {
    let known = check_password(state, me, password.into_secret(), "password", origin).await?;
    let mut tx = begin(&state.db).await?;
    recheck_proof(&mut tx, me, &known).await?;
    let enrolment = mfa::begin(&mut tx, state, me.user_id, &known).await?;
    let entry = own(Event::SecondFactorBegun, me, origin);
    audit::record(&mut *tx, entry, state.clock.now(), &state.rng).await?;
    tx.commit().await?;
    Ok(enrolment)
}

/// Turns the authenticator on. The other sessions end, since nobody in them has shown it.
pub(crate) async fn confirm(
    state: &AppState,
    me: Principal,
    code: &TotpCode,
    origin: &Origin,
) -> Result<RecoveryCodes, Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    // The account before the factor, as everywhere: in another order two would wait for each other.
    let version = users::lock_credentials(&mut *tx, me.user_id)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let mut codes = None;
    let mut ended: Vec<SessionId> = Vec::new();
    if mfa::try_pending(&mut tx, state, me.user_id, version, code).await? {
        let change = change_at(&mut tx, me, version).await?;
        codes = Some(mfa::confirm(&mut tx, state, &change).await?);
        let (kept, why) = (Some(me.session_id), EndReason::EndedRemotely);
        ended = end_all(&mut *tx, me.user_id, kept, why, now).await?;
    }
    let event = match codes {
        Some(_) => Event::SecondFactorOn,
        None => Event::SecondFactorFailed,
    };
    audit::record(&mut *tx, own(event, me, origin), now, &state.rng).await?;
    tx.commit().await?;
    deny_sessions(state, ended, now);
    codes.ok_or(mfa::Error::WrongCode("code").into())
}

/// Turns the second factor off, for whoever knows the password and has the factor.
pub(crate) async fn turn_off(
    state: &AppState,
    me: Principal,
    password: TriedPassword,
    proof: &Proof,
    origin: &Origin,
) -> Result<(), Error> {
    let known = check_password(state, me, password.into_secret(), "password", origin).await?;
    let mut tx = begin(&state.db).await?;
    lock_proof(&mut tx, me, &known).await?;
    if !is_shown(&mut tx, state, me, proof, origin).await? {
        tx.commit().await?;
        return Err(mfa::Error::WrongCode(proof.field()).into());
    }
    let change = change_at(&mut tx, me, known.version).await?;
    mfa::turn_off(&mut tx, &change).await?;
    let entry = own(Event::SecondFactorOff, me, origin);
    audit::record(&mut *tx, entry, state.clock.now(), &state.rng).await?;
    tx.commit().await?;
    second_factor_gate::forget(state, me.user_id).await;
    Ok(())
}

/// Replaces the recovery codes, for whoever knows the password and has the factor: with the password
/// alone they would be a way around it.
pub(crate) async fn renew_codes(
    state: &AppState,
    me: Principal,
    password: TriedPassword,
    proof: &Proof,
    origin: &Origin,
) -> Result<RecoveryCodes, Error> {
    let known = check_password(state, me, password.into_secret(), "password", origin).await?;
    let mut tx = begin(&state.db).await?;
    lock_proof(&mut tx, me, &known).await?;
    if !is_shown(&mut tx, state, me, proof, origin).await? {
        tx.commit().await?;
        return Err(mfa::Error::WrongCode(proof.field()).into());
    }
    let change = change_at(&mut tx, me, known.version).await?;
    let codes = mfa::renew_codes(&mut tx, state, &change).await?;
    let entry = own(Event::RecoveryCodesRenewed, me, origin);
    audit::record(&mut *tx, entry, state.clock.now(), &state.rng).await?;
    tx.commit().await?;
    Ok(codes)
}

/// Locks the account for a change of its factor, at the version of the credentials that was proved.
async fn lock_proof(
    tx: &mut PgConnection,
    me: Principal,
    proven: &OwnCredentials,
) -> Result<(), Error> {
    let version = users::lock_credentials(tx, me.user_id)
        .await?
        .ok_or(Error::Unauthenticated)?;
    (version == proven.version)
        .then_some(())
        .ok_or(Error::CredentialsChanged)
}

async fn change_at(
    tx: &mut PgConnection,
    me: Principal,
    proven: CredentialsVersion,
) -> Result<CredentialsChange, Error> {
    begin_credentials_change(tx, me.user_id, Some(proven))
        .await?
        .ok_or(Error::CredentialsChanged)
}
