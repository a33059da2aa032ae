//! The second step of a sign-in.

use clock::after;
use serde_json::json;
use session_tokens::OpaqueToken;

use super::model::{MfaAnswer, MfaChallenge};
use super::store::{self, NewChallenge};
use crate::audit::Event;
use crate::auth::error::Error;
use crate::auth::sessions::{TokenPair, Transport, begin_session_in, overtaken_by_change};
use crate::ctx::Ctx;
use crate::ids::UserId;
use crate::metrics;
use crate::mfa::{self, Method, Proof};
use crate::users::CredentialsVersion;

const ATTEMPTS: i32 = 5;

/// Stores a sign-in whose password was right and that waits for the second factor.
pub(crate) async fn ask(
    ctx: &Ctx,
    user_id: UserId,
    proven: CredentialsVersion,
    transport: Transport,
) -> Result<MfaChallenge, Error> {
    let now = ctx.now();
    let token = OpaqueToken::new(&ctx.rng);
    let challenge = NewChallenge {
        token: token.hash(),
        user_id,
        version: proven,
        transport,
        expires_at: after(now, ctx.mfa.challenge_ttl),
        attempts: ATTEMPTS,
    };
    let mut tx = ctx.begin().await?;
    if !store::insert_challenge(&mut *tx, &challenge, now).await? {
        return Err(overtaken_by_change(&mut tx, user_id).await?);
    }
    tx.audit(Event::SecondFactorAsked.about(user_id)).await?;
    tx.commit().await?;
    Ok(MfaChallenge {
        mfa_token: token.encode(),
        expires_in: ctx.mfa.challenge_ttl.as_secs(),
        methods: Method::ALL.to_vec(),
    })
}

/// Begins the session of a pending sign-in, with the transport that was asked for with the password: cookies
/// only for a page of an allowed origin.
pub(crate) async fn log_in(
    ctx: &Ctx,
    answer: MfaAnswer,
    is_own_page: bool,
) -> Result<(Transport, TokenPair), Error> {
    let result = try_log_in(ctx, answer, is_own_page).await;
    metrics::count_sign_in(match &result {
        Ok(_) => metrics::SignIn::SignedIn,
        Err(Error::InvalidMfaCode | Error::Mfa(mfa::Error::TooManyFailures(_))) => {
            metrics::SignIn::WrongCode
        }
        Err(Error::InvalidMfaToken) => metrics::SignIn::Stale,
        Err(Error::ForeignPage | Error::Mfa(mfa::Error::NotOne(_))) => return result,
        Err(Error::AccountDisabled) => metrics::SignIn::Disabled,
        Err(_) => metrics::SignIn::Failed,
    });
    result
}

async fn try_log_in(
    ctx: &Ctx,
    answer: MfaAnswer,
    is_own_page: bool,
) -> Result<(Transport, TokenPair), Error> {
    let proof = Proof::one_of(answer.code, answer.recovery_code).map_err(mfa::Error::from)?;
    let token = answer.mfa_token.hash();
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let challenge = store::take_attempt(&mut *tx, token, now)
        .await?
        .ok_or(Error::InvalidMfaToken)?;
    let user_id = challenge.user_id;
    if challenge.transport == Transport::Cookie && !is_own_page {
        return Err(Error::ForeignPage);
    }
    let is_right = match mfa::verify(&mut tx, ctx, user_id, &proof).await {
        Err(mfa::Error::NotEnabled) => return Err(Error::InvalidMfaToken), // turned off meanwhile
        proven => proven?,
    };
    if !is_right {
        let entry = Event::SecondFactorFailed.about(user_id);
        tx.audit(entry.detail(json!({ "field": proof.field() })))
            .await?;
        tx.commit().await?;
        return Err(Error::InvalidMfaCode);
    }
    store::delete_challenge(&mut *tx, user_id, token).await?;
    let pair = begin_session_in(&mut tx, user_id, challenge.version).await?;
    if matches!(proof, Proof::Recovery(_)) {
        let entry = Event::RecoveryCodeUsed.by(user_id);
        tx.audit(entry.session(pair.session_id)).await?;
    }
    tx.commit().await?;
    Ok((challenge.transport, pair))
}
