//! Refresh tokens of the previous release: each is a row, and its successor an HMAC of it. The first use converts
//! the session; with `LEGACY_REFRESH_TOKENS` they are still issued and rotated.

use chrono::{DateTime, Utc};
use clock::after;
use session_tokens::{OpaqueToken, SessionToken};

use super::grace::grace;
use super::model::TokenPair;
use super::service::{end_reused_session, pair};
use super::store;
use crate::auth::error::Error;
use crate::ctx::{Ctx, Principal};
use crate::ids::SessionId;
use crate::metrics::TokenRefresh;

/// Maximum tokens between a used one and the current one; each was a round trip within the grace period.
const LONGEST_WALK: usize = 16;

/// Attempts of a rotation that lost a race.
const TRIES: usize = 3;

pub(crate) async fn find_principal(
    ctx: &Ctx,
    token: &OpaqueToken,
) -> Result<Option<Principal>, Error> {
    let stored = store::find_token(&ctx.db, token.hash(), ctx.now()).await?;
    Ok(stored.map(|stored| stored.principal()))
}

pub(crate) async fn rotate(
    ctx: &Ctx,
    token: OpaqueToken,
    of: Option<SessionId>,
) -> Result<(TokenRefresh, TokenPair), Error> {
    let now = ctx.now();
    for _ in 0..TRIES {
        let stored = store::find_token(&ctx.db, token.hash(), now).await?;
        let stored = stored.ok_or(Error::InvalidRefreshToken)?;
        let who = stored.principal();
        if of.is_some_and(|session| session != who.session_id) {
            return Err(Error::ForeignSession);
        }
        match stored.rotated_at {
            None if stored.expires_at <= now => break,
            None => {
                if let Some(pair) = replace(ctx, &token, who, now).await? {
                    return Ok((TokenRefresh::Rotated, pair));
                }
            }
            Some(at) if now <= after(at, grace(ctx, now, at)) => {
                let pair = current_of_chain(ctx, token, who, now).await?;
                return Ok((TokenRefresh::Repeated, pair));
            }
            Some(_) => return end_reused_session(ctx, who).await,
        }
    }
    Err(Error::InvalidRefreshToken)
}

/// `None` if a concurrent call used the token.
async fn replace(
    ctx: &Ctx,
    token: &OpaqueToken,
    who: Principal,
    now: DateTime<Utc>,
) -> Result<Option<TokenPair>, Error> {
    let Some(successor) = token.successors(&ctx.successor_macs).into_iter().next() else {
        return Ok(None);
    };
    let (db, hash, session) = (&ctx.db, token.hash(), who.session_id);
    let idle_expires_at = after(now, ctx.auth.session_idle_ttl);
    let (next, rotated) = if ctx.auth.legacy_refresh_tokens {
        let rotated = store::rotate_token(db, hash, successor.hash(), now, idle_expires_at).await?;
        (successor.encode(), rotated)
    } else {
        // The successor becomes the seed, so that a client with the previous token gets the same next one.
        let next = SessionToken::issue(&ctx.refresh_macs, session.0, 1, successor.bytes());
        let rotated = store::convert(db, hash, session, next.hash(), now, idle_expires_at).await?;
        (next.encode(), rotated)
    };
    rotated
        .map(|rotated| {
            let session = (who, rotated.must_accept);
            pair(ctx, session, next, rotated.expires_at, now)
        })
        .transpose()
}

/// Current token of the chain that a used token belongs to.
async fn current_of_chain(
    ctx: &Ctx,
    first: OpaqueToken,
    who: Principal,
    now: DateTime<Utc>,
) -> Result<TokenPair, Error> {
    let mut token = first;
    for _ in 0..LONGEST_WALK {
        let successors = token.successors(&ctx.successor_macs);
        let mut next = None;
        for successor in &successors {
            if let Some(stored) = store::find_token(&ctx.db, successor.hash(), now).await? {
                next = Some((successor.clone(), stored));
                break;
            }
        }
        let Some((successor, stored)) = next else {
            return current_of_converted(ctx, &successors, who, now).await;
        };
        if stored.rotated_at.is_none() {
            let session = (who, stored.must_accept);
            return pair(ctx, session, successor.encode(), stored.expires_at, now);
        }
        token = successor;
    }
    Err(Error::InvalidRefreshToken)
}

/// The current token of a session that was converted from one whose successors these are.
async fn current_of_converted(
    ctx: &Ctx,
    successors: &[OpaqueToken],
    who: Principal,
    now: DateTime<Utc>,
) -> Result<TokenPair, Error> {
    let (macs, session) = (&ctx.refresh_macs, who.session_id);
    let row = store::find_token_state(&ctx.db, session, now).await?;
    let row = row.ok_or(Error::InvalidRefreshToken)?;
    let find = |seed: &OpaqueToken| {
        SessionToken::find(macs, session.0, row.generation, seed.bytes(), row.hash)
    };
    let current = successors.iter().find_map(find);
    let current = current.ok_or(Error::InvalidRefreshToken)?;
    let session = (who, row.must_accept);
    pair(ctx, session, current.encode(), row.expires_at, now)
}
