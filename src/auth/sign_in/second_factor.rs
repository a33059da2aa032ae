//! The second step of a sign-in.

use super::model::{MfaAnswer, MfaChallenge};
use super::store::{self, NewChallenge};
use crate::audit::{self, Entry, Event, Origin};
use crate::auth::error::Error;
use crate::auth::opaque_token::OpaqueToken;
use crate::auth::sessions::{TokenPair, Transport, begin_session_in, lost_race};
use crate::ids::UserId;
use crate::infra::{after, begin};
use crate::metrics;
use crate::mfa::{self, Method, Proof};
use crate::state::AppState;
use crate::users::CredentialsVersion;

/// How often a code may be tried before the sign-in begins anew with the password.
const ATTEMPTS: i32 = 5;

/// Lets the sign-in of somebody whose password was right wait for the second factor.
pub(crate) async fn ask(
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
pub(crate) async fn log_in(
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
