//! Sessions from their beginning to their end: signing in hands over here, refresh tokens rotate,
//! and signing out, reuse and a new password end them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::credentials::begin_credentials_change;
use super::error::Error;
use super::model::{EndReason, TokenPair};
use super::store::{self, NewSession};
use super::token::{self, OpaqueToken};
use crate::audit::{self, Entry, Event, Origin};
use crate::ids::{SessionId, UserId};
use crate::infra::{after, begin};
use crate::metrics::{self, TokenRefresh};
use crate::state::AppState;
use crate::users::CredentialsVersion;
use crate::web::Principal;

/// How many tokens one lost reply after the other may have left behind. Each took a round trip
/// within the grace; a longer walk is no client of ours.
const LONGEST_WALK: usize = 16;

/// Begins a session of somebody who has proved the credentials of this version.
pub(super) async fn begin_session(
    state: &AppState,
    user_id: UserId,
    proven: CredentialsVersion,
    origin: &Origin,
) -> Result<TokenPair, Error> {
    let mut tx = begin(&state.db).await?;
    let pair = begin_session_in(&mut tx, state, user_id, proven, origin).await?;
    tx.commit().await?;
    Ok(pair)
}

/// Begins a session in the transaction of what proved who somebody is. The tokens are good for
/// something once it is committed.
pub(super) async fn begin_session_in(
    tx: &mut PgConnection,
    state: &AppState,
    user_id: UserId,
    proven: CredentialsVersion,
    origin: &Origin,
) -> Result<TokenPair, Error> {
    let now = state.clock.now();
    let id = SessionId::new(now, &state.rng);
    let refresh = OpaqueToken::new(&state.rng);
    let expires_at = after(now, state.auth.session_max_ttl);
    let token_expires_at = expires_at.min(after(now, state.auth.session_idle_ttl));
    let session = NewSession {
        id,
        user_id,
        version: proven,
        expires_at,
        token: refresh.hash(),
        token_expires_at,
        origin,
    };
    if !store::insert_session(&mut *tx, &session, now).await? {
        return Err(lost_race(tx, user_id).await?);
    }
    let entry = Entry::own(Event::SignedIn, user_id, Some(id), origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    let who = Principal {
        user_id,
        session_id: id,
    };
    pair(state, who, &refresh, token_expires_at, now)
}

/// The reply to a sign-in whose proof was overtaken by a change of the account: that of a wrong password,
/// unless the account has been disabled.
pub(super) async fn lost_race(tx: &mut PgConnection, user_id: UserId) -> Result<Error, Error> {
    let standing = store::find_standing(tx, user_id).await?;
    Ok(match standing {
        Some(standing) if standing.is_disabled => Error::AccountDisabled,
        _ => Error::InvalidCredentials,
    })
}

/// Replaces a refresh token by the next pair.
///
/// A token's successor is derived from it, so that whoever lost the reply, and each of any number
/// of tabs that ask at once on any replica, gets the very same successor: there is one chain. After
/// the grace the token must be in two hands, and the session ends.
///
/// `of` is the one session whose tokens will do, where the caller has shown to be in it.
pub(super) async fn refresh(
    state: &AppState,
    presented: OpaqueToken,
    of: Option<SessionId>,
    origin: &Origin,
) -> Result<TokenPair, Error> {
    let (outcome, result) = match try_refresh(state, presented, of, origin).await {
        Ok((outcome, pair)) => (outcome, pair.ok_or(Error::InvalidRefreshToken)),
        Err(error @ Error::ForeignSession) => (TokenRefresh::Refused, Err(error)),
        Err(error) => (TokenRefresh::Failed, Err(error)),
    };
    metrics::count_token_refresh(outcome);
    result
}

async fn try_refresh(
    state: &AppState,
    presented: OpaqueToken,
    of: Option<SessionId>,
    origin: &Origin,
) -> Result<(TokenRefresh, Option<TokenPair>), Error> {
    let now = state.clock.now();
    let child = presented.successor(&state.auth.token_secret);
    let child_expires_at = after(now, state.auth.session_idle_ttl);
    let rotated = store::rotate(
        &state.db,
        presented.hash(),
        of,
        child.hash(),
        now,
        child_expires_at,
    )
    .await?;
    if let Some(session) = rotated {
        let who = Principal {
            user_id: session.user_id,
            session_id: session.session_id,
        };
        let pair = pair(state, who, &child, session.expires_at, now)?;
        return Ok((TokenRefresh::Rotated, Some(pair)));
    }
    let known = store::find_token(&state.db, presented.hash(), now).await?;
    let Some(known) = known.filter(|token| token.session_lives) else {
        return Ok((TokenRefresh::Refused, None));
    };
    let who = Principal {
        user_id: known.user_id,
        session_id: known.session_id,
    };
    if of.is_some_and(|session| session != who.session_id) {
        return Err(Error::ForeignSession);
    }
    match known.rotated_at {
        Some(at) if now <= after(at, state.auth.refresh_grace) => {
            let pair = living_end(state, child, who, now).await?;
            Ok((TokenRefresh::Repeated, pair))
        }
        Some(_) => {
            // In a task of its own: a client that hangs up must not undo the end of its session.
            let (state, origin) = (state.clone(), origin.clone());
            tokio::spawn(async move { end_reused(&state, who, &origin).await }).await??;
            Ok((TokenRefresh::Reused, None))
        }
        None => Ok((TokenRefresh::Refused, None)), // expired unused
    }
}

/// Walks from a used token's successor to the end of its chain, which is its one living token.
async fn living_end(
    state: &AppState,
    first: OpaqueToken,
    who: Principal,
    now: DateTime<Utc>,
) -> Result<Option<TokenPair>, Error> {
    let mut token = first;
    for _ in 0..LONGEST_WALK {
        let Some(stored) = store::find_token(&state.db, token.hash(), now).await? else {
            break;
        };
        if stored.rotated_at.is_none() {
            return pair(state, who, &token, stored.expires_at, now).map(Some);
        }
        token = token.successor(&state.auth.token_secret);
    }
    Ok(None)
}

async fn end_reused(state: &AppState, who: Principal, origin: &Origin) -> Result<(), Error> {
    let entry = Entry::befell(
        Event::RefreshTokenReused,
        Some(who.user_id),
        Some(who.session_id),
        origin,
    );
    end(state, who, EndReason::TokenReused, entry).await?;
    Ok(())
}

/// Ends one session.
pub(super) async fn log_out(
    state: &AppState,
    who: Principal,
    origin: &Origin,
) -> Result<(), Error> {
    let entry = Entry::own(Event::SignedOut, who.user_id, Some(who.session_id), origin);
    end(state, who, EndReason::SignedOut, entry).await?;
    Ok(())
}

/// Ends a session of one's own from another one.
pub(super) async fn end_session(
    state: &AppState,
    me: Principal,
    id: SessionId,
    origin: &Origin,
) -> Result<(), Error> {
    let entry = Entry::own(Event::SessionEnded, me.user_id, Some(id), origin);
    let other = Principal {
        session_id: id,
        ..me
    };
    if end(state, other, EndReason::EndedRemotely, entry).await? {
        Ok(())
    } else {
        Err(Error::SessionNotFound)
    }
}

/// Ends a session of this owner, notes it and refuses its access tokens; answers false when there
/// is none that has not ended before.
async fn end(
    state: &AppState,
    who: Principal,
    reason: EndReason,
    entry: Entry<'_>,
) -> Result<bool, Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    if !store::end_session(&mut *tx, who.user_id, who.session_id, reason, now).await? {
        return Ok(false);
    }
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    deny(state, [who.session_id], now);
    Ok(true)
}

/// Who holds a refresh token, used or not, of a session that has not ended.
pub(super) async fn find_holder(
    state: &AppState,
    token: &OpaqueToken,
) -> Result<Option<Principal>, Error> {
    let known = store::find_token(&state.db, token.hash(), state.clock.now()).await?;
    Ok(known
        .filter(|token| token.session_lives)
        .map(|token| Principal {
            user_id: token.user_id,
            session_id: token.session_id,
        }))
}

/// Ends the session that a refresh token belongs to, used or not; an unknown token is nobody's.
pub(super) async fn log_out_by_token(
    state: &AppState,
    token: &OpaqueToken,
    origin: &Origin,
) -> Result<(), Error> {
    match find_holder(state, token).await? {
        Some(who) => log_out(state, who, origin).await,
        None => Ok(()),
    }
}

/// Ends all sessions of one account, this one included, and voids its links and waiting sign-ins.
pub(super) async fn log_out_everywhere(
    state: &AppState,
    who: Principal,
    origin: &Origin,
) -> Result<(), Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    begin_credentials_change(&mut tx, who.user_id, None)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let ended = store::end_sessions(&mut *tx, who.user_id, None, EndReason::SignedOut, now).await?;
    let mut entry = Entry::own(
        Event::SignedOutEverywhere,
        who.user_id,
        Some(who.session_id),
        origin,
    );
    entry.detail = serde_json::json!({ "sessions": ended.len() });
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    deny(state, ended, now);
    Ok(())
}

/// Refuses the access tokens of ended sessions from now on, in this process; the others read it
/// from the database within a second.
pub fn deny(state: &AppState, sessions: impl IntoIterator<Item = SessionId>, now: DateTime<Utc>) {
    for id in sessions {
        state
            .ended_sessions
            .deny(id.0, token::runs_out(&state.auth, now));
    }
}

fn pair(
    state: &AppState,
    who: Principal,
    refresh: &OpaqueToken,
    refresh_expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<TokenPair, Error> {
    let refresh_left = (refresh_expires_at - now)
        .to_std()
        .unwrap_or(Duration::ZERO);
    Ok(TokenPair {
        access_token: token::issue_access(&state.keys, &state.auth, who, now)?,
        token_type: "Bearer",
        expires_in: state.auth.access_ttl.as_secs(),
        refresh_token: refresh.encode(),
        refresh_expires_in: refresh_left.as_secs(),
        session_id: who.session_id,
    })
}
