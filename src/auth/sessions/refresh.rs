//! Use of a refresh token of either kind: for the next pair, or to sign out.

use super::model::TokenPair;
use super::refresh_token::RefreshToken;
use super::rotation::{self, Refreshed};
use super::service::log_out;
use super::{legacy_refresh, store};
use crate::auth::error::Error;
use crate::ctx::{Ctx, Principal};
use crate::ids::SessionId;
use crate::metrics::{self, TokenRefresh};

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
        RefreshToken::Session(token) => rotation::rotate(ctx, &token, of).await,
        RefreshToken::Legacy(token) => legacy_refresh::rotate(ctx, token, of).await,
    };
    let (outcome, result) = match refreshed {
        Ok(Refreshed { outcome, pair }) => (outcome, pair.ok_or(Error::InvalidRefreshToken)),
        Err(error @ Error::ForeignSession) => (TokenRefresh::Refused, Err(error)),
        Err(error) => (TokenRefresh::Failed, Err(error)),
    };
    metrics::count_token_refresh(outcome);
    result
}

/// Accepts used tokens, of active sessions.
pub(crate) async fn find_principal(
    ctx: &Ctx,
    token: &RefreshToken,
) -> Result<Option<Principal>, Error> {
    let token = match token {
        RefreshToken::Session(token) => return rotation::find_principal(ctx, token).await,
        RefreshToken::Legacy(token) => token,
    };
    let known = store::find_token(&ctx.db, token.hash(), ctx.now()).await?;
    Ok(known
        .filter(|token| token.session_lives)
        .map(|token| Principal {
            user_id: token.user_id,
            session_id: token.session_id,
        }))
}

/// Accepts used tokens; an unknown token has no effect.
pub(crate) async fn log_out_by_token(ctx: &Ctx, token: &RefreshToken) -> Result<(), Error> {
    match find_principal(ctx, token).await? {
        Some(who) => log_out(ctx, who).await,
        None => Ok(()),
    }
}
