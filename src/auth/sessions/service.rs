//! Sessions from their beginning to their end: signing in begins one, and signing out, reuse of a refresh
//! token and a new password end them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::access_token;
use super::model::{Device, EndReason, TokenPair};
use super::refresh_token::SessionToken;
use super::store::{self, NewSession};
use crate::audit::{self, Entry, Event, Origin};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::opaque_token::OpaqueToken;
use crate::auth::store::find_standing;
use crate::ids::{SessionId, UserId};
use crate::infra::{Db, after, begin};
use crate::state::AppState;
use crate::users::{CredentialsChange, CredentialsVersion};
use crate::web::{Moment, Page, Paged, Principal};

/// Sign-ins of one account at the same moment, each of which does not see the others. Farther below the
/// limit than this an account's sessions need not be counted one sign-in after the other.
const SIMULTANEOUS: i64 = 32;

/// Begins a session of somebody who has proved the credentials of this version.
pub(crate) async fn begin_session(
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
pub(crate) async fn begin_session_in(
    tx: &mut PgConnection,
    state: &AppState,
    user_id: UserId,
    proven: CredentialsVersion,
    origin: &Origin,
) -> Result<TokenPair, Error> {
    let now = state.clock.now();
    let id = SessionId::new(now, &state.rng);
    let expires_at = after(now, state.auth.session_max_ttl);
    let token_expires_at = expires_at.min(after(now, state.auth.session_idle_ttl));
    let token = SessionToken::first(&state.refresh_macs, id, &state.rng);
    let legacy = state
        .auth
        .legacy_refresh_tokens
        .then(|| OpaqueToken::new(&state.rng));
    let session = NewSession {
        id,
        user_id,
        version: proven,
        expires_at,
        token: legacy.is_none().then(|| token.hash()),
        idle_expires_at: legacy.is_none().then_some(token_expires_at),
        origin,
    };
    let most = i64::from(state.auth.session_max_count);
    let near = (most - SIMULTANEOUS).max(0);
    let Some(others) = store::insert(&mut *tx, &session, near, now).await? else {
        return Err(lost_race(tx, user_id).await?);
    };
    if let Some(token) = &legacy {
        store::insert_token(&mut *tx, id, token.hash(), now, token_expires_at).await?;
    }
    let entry = Entry::own(Event::SignedIn, user_id, Some(id), origin);
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    let who = Principal {
        user_id,
        session_id: id,
    };
    if others >= near {
        limit_sessions(tx, state, who, most, origin).await?;
    }
    let refresh = legacy.map_or_else(|| token.encode(), |token| token.encode());
    pair(state, who, refresh, token_expires_at, now)
}

/// The reply to a sign-in whose proof was overtaken by a change of the account: that of a wrong password,
/// unless the account has been disabled.
pub(crate) async fn lost_race(tx: &mut PgConnection, user_id: UserId) -> Result<Error, Error> {
    let standing = find_standing(tx, user_id).await?;
    Ok(match standing {
        Some(standing) if standing.is_disabled => Error::AccountDisabled,
        _ => Error::InvalidCredentials,
    })
}

/// Ends the account's sessions beyond the `most` that were used last.
async fn limit_sessions(
    tx: &mut PgConnection,
    state: &AppState,
    begun: Principal,
    most: i64,
    origin: &Origin,
) -> Result<(), Error> {
    let (now, owner) = (state.clock.now(), begun.user_id);
    store::lock(&mut *tx, owner).await?;
    let ended = store::end_surplus(&mut *tx, owner, begun.session_id, most, now).await?;
    if let Some(last) = ended.first() {
        let one = (ended.len() == 1).then_some(*last);
        let mut entry = Entry::befell(Event::SessionDisplaced, Some(owner), one, origin);
        entry.detail = serde_json::json!({ "sessions": ended.len() });
        audit::record(&mut *tx, entry, now, &state.rng).await?;
    }
    Ok(())
}

/// Ends one session.
pub(crate) async fn log_out(
    state: &AppState,
    who: Principal,
    origin: &Origin,
) -> Result<(), Error> {
    let entry = Entry::own(Event::SignedOut, who.user_id, Some(who.session_id), origin);
    end(state, who, EndReason::SignedOut, entry).await?;
    Ok(())
}

/// Ends a session of one's own from another one.
pub(crate) async fn end_session(
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
pub(crate) async fn end(
    state: &AppState,
    who: Principal,
    reason: EndReason,
    entry: Entry<'_>,
) -> Result<bool, Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    if !store::end(&mut *tx, who.user_id, who.session_id, reason, now).await? {
        return Ok(false);
    }
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    deny_sessions(state, [who.session_id], now);
    Ok(true)
}

/// Ends all sessions of one account, this one included, and voids its links and waiting sign-ins.
pub(crate) async fn log_out_everywhere(
    state: &AppState,
    who: Principal,
    origin: &Origin,
) -> Result<(), Error> {
    let now = state.clock.now();
    let mut tx = begin(&state.db).await?;
    begin_credentials_change(&mut tx, who.user_id, None)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let ended = store::end_all(&mut *tx, who.user_id, None, EndReason::SignedOut, now).await?;
    let mut entry = Entry::own(
        Event::SignedOutEverywhere,
        who.user_id,
        Some(who.session_id),
        origin,
    );
    entry.detail = serde_json::json!({ "sessions": ended.len() });
    audit::record(&mut *tx, entry, now, &state.rng).await?;
    tx.commit().await?;
    deny_sessions(state, ended, now);
    Ok(())
}

/// Refuses the access tokens of ended sessions from now on, in this process; the others read it
/// from the database within a second.
pub fn deny_sessions(
    state: &AppState,
    sessions: impl IntoIterator<Item = SessionId>,
    now: DateTime<Utc>,
) {
    for id in sessions {
        state
            .ended_sessions
            .revoke(id.0, access_token::expires_after(&state.auth, now));
    }
}

pub(crate) fn pair(
    state: &AppState,
    who: Principal,
    refresh_token: String,
    refresh_expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<TokenPair, Error> {
    let refresh_left = (refresh_expires_at - now)
        .to_std()
        .unwrap_or(Duration::ZERO);
    Ok(TokenPair {
        access_token: access_token::issue(&state.keys, &state.auth, who, now)?,
        token_type: "Bearer",
        expires_in: state.auth.access_ttl.as_secs(),
        refresh_token,
        refresh_expires_in: refresh_left.as_secs(),
        session_id: who.session_id,
    })
}

/// A page of the living sessions of an account, the last used first; `current` is the one that asks.
pub async fn list_sessions(
    db: &Db,
    user_id: UserId,
    current: SessionId,
    paged: &Paged<Moment>,
    now: DateTime<Utc>,
) -> Result<Page<Device>, sqlx::Error> {
    let (after, limit) = (paged.after, paged.limit);
    let rows = store::list(db, user_id, current, after, limit, now).await?;
    let position = |device: &Device| Moment(device.last_used_at, device.id.0);
    Ok(Page::cut(rows, limit, position))
}

/// Ends all sessions of an account. Their access tokens are refused here once the caller has
/// committed and passed the ids to [`deny`], and by other processes within a second.
pub async fn end_sessions(
    conn: &mut PgConnection,
    change: &CredentialsChange,
    why: EndReason,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    store::end_all(conn, change.user_id(), None, why, now).await
}
