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

/// Replaces a refresh token by the next pair.
///
/// A used token within the grace gets the one current token of its session: a client that lost the
/// reply, and each of any number of tabs on any replica. After the grace the token must be in two hands,
/// and the session ends.
///
/// `of` is the one session whose tokens are accepted, where the caller has proved to be in it.
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

/// Who holds a refresh token, used or not, of a session that has not ended.
pub(crate) async fn find_holder(
    ctx: &Ctx,
    token: &RefreshToken,
) -> Result<Option<Principal>, Error> {
    let token = match token {
        RefreshToken::Session(token) => return rotation::find_holder(ctx, token).await,
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

/// Ends the session that a refresh token belongs to, used or not; an unknown token is nobody's.
pub(crate) async fn log_out_by_token(ctx: &Ctx, token: &RefreshToken) -> Result<(), Error> {
    match find_holder(ctx, token).await? {
        Some(who) => log_out(ctx, who).await,
        None => Ok(()),
    }
}
