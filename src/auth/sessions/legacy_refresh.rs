//! Refresh tokens of the previous release: each is a row, and its successor an HMAC of it. The first use converts
//! the session; with `LEGACY_REFRESH_TOKENS` they are still issued and rotated.

use chrono::{DateTime, Utc};

use super::refresh_token::SessionToken;
use super::rotation::{Refreshed, end_reused_session};
use super::service::pair;
use super::store;
use crate::auth::error::Error;
use crate::auth::opaque_token::OpaqueToken;
use crate::ctx::{Ctx, Principal};
use crate::ids::SessionId;
use crate::infra::after;
use crate::metrics::TokenRefresh;

/// Maximum tokens between a used one and the current one; each was a round trip within the grace period.
const LONGEST_WALK: usize = 16;

/// Attempts of a rotation that lost a race.
const TRIES: usize = 3;

pub(crate) async fn rotate(
    ctx: &Ctx,
    token: OpaqueToken,
    of: Option<SessionId>,
) -> Result<Refreshed, Error> {
    let now = ctx.now();
    for _ in 0..TRIES {
        let known = store::find_token(&ctx.db, token.hash(), now).await?;
        let Some(known) = known.filter(|token| token.session_lives) else {
            return Ok(Refreshed::refused());
        };
        let who = Principal {
            user_id: known.user_id,
            session_id: known.session_id,
        };
        if of.is_some_and(|session| session != who.session_id) {
            return Err(Error::ForeignSession);
        }
        match known.rotated_at {
            None if known.expires_at <= now => return Ok(Refreshed::refused()),
            None => {
                if let Some(refreshed) = replace(ctx, &token, who, now).await? {
                    return Ok(refreshed);
                }
            }
            Some(at) if now <= after(at, ctx.auth.refresh_grace) => {
                return current_of_chain(ctx, token, who, now).await;
            }
            Some(_) => return end_reused_session(ctx, who).await,
        }
    }
    Ok(Refreshed::refused())
}

/// `None` if a concurrent call used the token.
async fn replace(
    ctx: &Ctx,
    token: &OpaqueToken,
    who: Principal,
    now: DateTime<Utc>,
) -> Result<Option<Refreshed>, Error> {
    let Some(successor) = token.successors(&ctx.successor_macs).into_iter().next() else {
        return Ok(None);
    };
    let (db, hash) = (&ctx.db, token.hash());
    let idle_expires_at = after(now, ctx.auth.session_idle_ttl);
    let (next, rotated) = if ctx.auth.legacy_refresh_tokens {
        let rotated = store::rotate_token(db, hash, successor.hash(), now, idle_expires_at).await?;
        (successor.encode(), rotated)
    } else {
        let next = converted(ctx, who.session_id, &successor);
        let rotated =
            store::convert(db, hash, who.session_id, next.hash(), now, idle_expires_at).await?;
        (next.encode(), rotated)
    };
    let Some(rotated) = rotated else {
        return Ok(None);
    };
    let pair = pair(ctx, who, next, rotated.expires_at, now)?;
    Ok(Some(Refreshed::with(TokenRefresh::Rotated, pair)))
}

/// The successor becomes the seed, so that a client with the previous token gets the same next one.
fn converted(ctx: &Ctx, session: SessionId, successor: &OpaqueToken) -> SessionToken {
    SessionToken::issue(&ctx.refresh_macs, session, 1, successor.bytes())
}

/// Current token of the chain that a used token belongs to.
async fn current_of_chain(
    ctx: &Ctx,
    first: OpaqueToken,
    who: Principal,
    now: DateTime<Utc>,
) -> Result<Refreshed, Error> {
    let mut token = first;
    for _ in 0..LONGEST_WALK {
        let successors = token.successors(&ctx.successor_macs);
        let mut next = None;
        for successor in successors.iter().cloned() {
            if let Some(stored) = store::find_token(&ctx.db, successor.hash(), now).await? {
                next = Some((successor, stored));
                break;
            }
        }
        let Some((successor, stored)) = next else {
            return current_of_converted(ctx, &successors, who, now).await;
        };
        if stored.rotated_at.is_none() {
            let pair = pair(ctx, who, successor.encode(), stored.expires_at, now)?;
            return Ok(Refreshed::with(TokenRefresh::Repeated, pair));
        }
        token = successor;
    }
    Ok(Refreshed::refused())
}

/// The current token of a session that was converted from one whose successors these are.
async fn current_of_converted(
    ctx: &Ctx,
    successors: &[OpaqueToken],
    who: Principal,
    now: DateTime<Utc>,
) -> Result<Refreshed, Error> {
    let (macs, session) = (&ctx.refresh_macs, who.session_id);
    let Some(row) = store::find_token_state(&ctx.db, session, now).await? else {
        return Ok(Refreshed::refused());
    };
    let find = |seed: &OpaqueToken| {
        SessionToken::find(macs, session, row.generation, seed.bytes(), row.hash)
    };
    let Some(current) = successors.iter().find_map(find) else {
        return Ok(Refreshed::refused());
    };
    let pair = pair(ctx, who, current.encode(), row.expires_at, now)?;
    Ok(Refreshed::with(TokenRefresh::Repeated, pair))
}
