//! Second factors: turning them on and off, and the second step of signing in.

use sqlx::PgConnection;

use super::credentials::begin_credentials_change;
use super::error::Error;
use super::model::{EndReason, MfaAnswer, MfaChallenge, TokenPair, Transport};
use super::password::TriedPassword;
use super::reauthentication::{check_password, is_shown, own, recheck_proof};
use super::second_factor_gate;
use super::session::{begin_session_in, deny, lost_race};
use super::store::{self, NewChallenge};
use super::token::OpaqueToken;
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::{SessionId, UserId};
use crate::infra::{after, begin};
use crate::metrics;
use crate::mfa::{self, Enrolment, Method, Proof, RecoveryCodes, TotpCode};
use crate::state::AppState;
use crate::users::{self, CredentialsChange, CredentialsVersion, OwnCredentials};
use crate::web::Principal;

/// How often a code may be tried before the sign-in begins anew with the password.
const ATTEMPTS: i32 = 5;

/// Lets the sign-in of somebody whose password was right wait for the second factor.
pub(super) async fn ask(
    state: &AppState,
    user_id: UserId,
    proven: CredentialsVersion,
    transport: Transport,
    origin: &Origin,
) -> Result<MfaChallenge, Error> {
    let now = state.clock.now();
    let token = OpaqueToken::new(&state.rng);
    let challenge = NewChallenge {
        token: token.hash(),
        user_id,
        version: proven,
        transport,
        expires_at: after(now, state.mfa.challenge_ttl),
        attempts: ATTEMPTS,
    };
    let mut tx = begin(&state.db).await?;
    if !store::insert_challenge(&mut *tx, &challenge, now).await? {
        return Err(lost_race(&mut tx, user_id).await?);
    }
    let entry = Entry::befell(Event::SecondFactorAsked, Some(user_id), None, origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    Ok(MfaChallenge {
        mfa_token: token.encode(),
        expires_in: state.mfa.challenge_ttl.as_secs(),
        methods: Method::ALL.to_vec(),
    })
}

/// Begins the session that waited for the second factor. The tokens travel as was asked for with
/// the password; by cookie only to a page that may act for its reader.
pub(super) async fn log_in(
    state: &AppState,
    answer: MfaAnswer,
    is_own_page: bool,
    origin: &Origin,
) -> Result<(Transport, TokenPair), Error> {
    let result = try_log_in(state, answer, is_own_page, origin).await;
    metrics::count_sign_in(match &result {
        Ok(_) => metrics::SignIn::SignedIn,
        Err(Error::InvalidMfaCode | Error::Mfa(mfa::Error::TooManyFailures(_))) => {
            metrics::SignIn::WrongCode
        }
        Err(Error::InvalidMfaToken) => metrics::SignIn::Stale,
        Err(Error::ForeignPage | Error::Mfa(mfa::Error::OneProof)) => return result,
        Err(Error::AccountDisabled) => metrics::SignIn::Disabled,
        Err(_) => metrics::SignIn::Failed,
    });
    result
}

async fn try_log_in(
    state: &AppState,
    answer: MfaAnswer,
    is_own_page: bool,
    origin: &Origin,
) -> Result<(Transport, TokenPair), Error> {
    let proof = Proof::one_of(answer.code, answer.recovery_code)?;
    let token = answer.mfa_token.hash();
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    let challenge = store::take_attempt(&mut *tx, token, now)
        .await?
        .ok_or(Error::InvalidMfaToken)?;
    let user_id = challenge.user_id;
    if challenge.transport == Transport::Cookie && !is_own_page {
        return Err(Error::ForeignPage);
    }
    let method = match mfa::prove(&mut tx, state, user_id, &proof).await {
        Err(mfa::Error::IsOff) => return Err(Error::InvalidMfaToken), // turned off meanwhile
        proven => proven?,
    };
    let Some(method) = method else {
        let mut entry = Entry::befell(Event::SecondFactorFailed, Some(user_id), None, origin);
        entry.detail = serde_json::json!({ "field": proof.field() });
        audit::record(&mut *tx, entry, now, &state.rng).await?;
        tx.commit().await?;
        return Err(Error::InvalidMfaCode);
    };
    store::delete_challenge(&mut *tx, user_id, token).await?;
    let pair = begin_session_in(&mut tx, state, user_id, challenge.version, origin).await?;
    if method == Method::RecoveryCode {
        let entry = Entry::own(
            Event::RecoveryCodeUsed,
            user_id,
            Some(pair.session_id),
            origin,
        );
        audit::record(&mut *tx, entry, now, &state.rng).await?;
    }
    tx.commit().await?;
    Ok((challenge.transport, pair))
}

/// Begins to add an authenticator.
pub(super) async fn begin_enrolment(
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
pub(super) async fn confirm(
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
        ended = store::end_sessions(&mut *tx, me.user_id, kept, why, now).await?;
    }
    let event = match codes {
        Some(_) => Event::SecondFactorOn,
        None => Event::SecondFactorFailed,
    };
    audit::record(&mut *tx, own(event, me, origin), now, &state.rng).await?;
    tx.commit().await?;
    deny(state, ended, now);
    codes.ok_or(mfa::Error::WrongCode("code").into())
}

/// Turns the second factor off, for whoever knows the password and has the factor.
pub(super) async fn turn_off(
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
pub(super) async fn renew_codes(
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
