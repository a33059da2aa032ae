//! Refresh token rotation by generations, and detection of reuse.

use chrono::{DateTime, Utc};
use clock::{after, before};
use session_tokens::{SessionToken, TokenHash, TokenUse, classify};

use super::grace::{OUTAGE_MAX, grace};
use super::legacy_refresh;
use super::model::{RefreshToken, TokenPair};
use super::service::{end_reused_session, pair};
use super::store::{self, Rotation, TokenState};
use crate::auth::error::Error;
use crate::ctx::{Ctx, Principal};
use crate::ids::SessionId;
use crate::metrics::{self, TokenRefresh};

/// Tries of a rotation that lost a race.
const TRIES: usize = 3;

/// Within the grace period a used token gets the current token of its session: for a client that lost the response,
/// and for concurrent tabs, on any replica. After it, reuse means that two parties have the token, and the session
/// ends.
///
/// `of` is the only session whose tokens are accepted, if the CSRF token names one.
pub(crate) async fn refresh(
    ctx: &Ctx,
    presented: RefreshToken,
    of: Option<SessionId>,
) -> Result<TokenPair, Error> {
    let refreshed = match presented {
        RefreshToken::Session(token) => rotate(ctx, &token, of).await,
        RefreshToken::Legacy(token) => legacy_refresh::rotate(ctx, token, of).await,
    };
    metrics::count_token_refresh(match &refreshed {
        Ok((outcome, _)) => *outcome,
        Err(Error::ReusedRefreshToken) => TokenRefresh::Reused,
        Err(Error::InvalidRefreshToken | Error::ForeignSession) => TokenRefresh::Refused,
        Err(_) => TokenRefresh::Failed,
    });
    refreshed.map(|(_, pair)| pair)
}

/// Accepts used tokens, of active sessions.
pub(crate) async fn find_principal(
    ctx: &Ctx,
    token: &RefreshToken,
) -> Result<Option<Principal>, Error> {
    let token = match token {
        RefreshToken::Session(token) => token,
        RefreshToken::Legacy(token) => return legacy_refresh::find_principal(ctx, token).await,
    };
    let current = find_current(ctx, token, ctx.now()).await?;
    Ok(current.map(|(row, _)| row.who))
}

async fn rotate(
    ctx: &Ctx,
    token: &SessionToken,
    of: Option<SessionId>,
) -> Result<(TokenRefresh, TokenPair), Error> {
    let now = ctx.now();
    let is_foreign = of.is_some_and(|session| session.0 != token.session());
    let mut from = (token.generation(), token.hash());
    for _ in 0..TRIES {
        if !is_foreign && let Some(pair) = replace(ctx, token, from, now).await? {
            return Ok((TokenRefresh::Rotated, pair));
        }
        let found = find_current(ctx, token, now).await?;
        let (row, current) = found.ok_or(Error::InvalidRefreshToken)?;
        if is_foreign {
            return Err(Error::ForeignSession);
        }
        let grace = |at| grace(ctx, now, at);
        match classify(
            token.generation(),
            row.generation,
            &row.rotations,
            now,
            grace,
        ) {
            TokenUse::InGrace => {
                let session = (row.who, row.must_accept);
                let pair = pair(ctx, session, current.encode(), row.expires_at, now)?;
                return Ok((TokenRefresh::Repeated, pair));
            }
            TokenUse::Reused => return end_reused_session(ctx, row.who).await,
            TokenUse::Refused => break,
            // The database lost rotations: it was restored, or a standby took over.
            TokenUse::Ahead => from = (row.generation, row.hash),
        }
    }
    Err(Error::InvalidRefreshToken)
}

/// Replaces the current token, whose generation and hash `from` are, by the successor of `token`.
async fn replace(
    ctx: &Ctx,
    token: &SessionToken,
    from: (i32, TokenHash),
    now: DateTime<Utc>,
) -> Result<Option<TokenPair>, Error> {
    let next = token.next(&ctx.refresh_macs);
    let session_id = SessionId(token.session());
    let rotation = Rotation {
        session: session_id,
        from,
        to: (next.generation(), next.hash()),
        now,
        idle_expires_at: after(now, ctx.auth.session_idle_ttl),
        grace_since: before(now, grace(ctx, now, before(now, OUTAGE_MAX))),
    };
    let Some(rotated) = store::rotate(&ctx.db, &rotation).await? else {
        return Ok(None);
    };
    let who = Principal {
        user_id: rotated.user_id,
        session_id,
    };
    let session = (who, rotated.must_accept);
    pair(ctx, session, next.encode(), rotated.expires_at, now).map(Some)
}

/// The session's state and current token, where `token` is one of the same session that we issued.
async fn find_current(
    ctx: &Ctx,
    token: &SessionToken,
    now: DateTime<Utc>,
) -> Result<Option<(TokenState, SessionToken)>, Error> {
    let (macs, session) = (&ctx.refresh_macs, token.session());
    let Some(row) = store::find_token_state(&ctx.db, SessionId(session), now).await? else {
        return Ok(None);
    };
    if token.hash() == row.hash {
        return Ok(Some((row, token.clone())));
    }
    let current = SessionToken::find(macs, session, row.generation, token.seed(), row.hash);
    let current = current.filter(|_| token.is_genuine(macs));
    Ok(current.map(|current| (row, current)))
}
