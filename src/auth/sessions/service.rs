//! Begin and end of sessions.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::after;
use database::Db;
use http_toolkit::{Page, PageRequest, TimeCursor};
use serde_json::json;
use session_tokens::{OpaqueToken, SessionToken};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use super::model::{EndReason, SessionInfo, TokenPair};
use super::store::{self, NewSession};
use crate::audit::{Entry, Event};
use crate::auth::credentials_change::begin_credentials_change;
use crate::auth::error::Error;
use crate::auth::store::find_account_status;
use crate::consents;
use crate::ctx::{Ctx, Principal, Tx, UserCtx};
use crate::ids::{SessionId, UserId};
use crate::state::AppState;
use crate::users::CredentialsVersion;

/// Concurrent sign-ins of one account, which do not see each other. Only within this distance of the limit are the
/// sign-ins of an account serialized.
const SIMULTANEOUS: i64 = 32;

/// Sessions that one statement ends when everybody is signed out.
const END_BATCH: i64 = 5_000;

pub(crate) async fn begin_session(
    ctx: &Ctx,
    user_id: UserId,
    proven: CredentialsVersion,
) -> Result<TokenPair, Error> {
    let mut tx = ctx.begin().await?;
    let pair = begin_session_in(&mut tx, user_id, proven).await?;
    tx.commit().await?;
    Ok(pair)
}

/// As [`begin_session`], in the transaction of the proof; the tokens are valid once it is committed.
pub(crate) async fn begin_session_in(
    tx: &mut Tx<'_>,
    user_id: UserId,
    proven: CredentialsVersion,
) -> Result<TokenPair, Error> {
    let ctx = tx.ctx();
    let now = ctx.now();
    let who = Principal {
        user_id,
        session_id: SessionId::new(now, &ctx.rng),
    };
    let id = who.session_id;
    let expires_at = after(now, ctx.auth.session_max_ttl);
    let token_expires_at = expires_at.min(after(now, ctx.auth.session_idle_ttl));
    let token = SessionToken::first(&ctx.refresh_macs, id.0, &ctx.rng);
    let legacy = ctx
        .auth
        .legacy_refresh_tokens
        .then(|| OpaqueToken::new(&ctx.rng));
    let session = NewSession {
        who,
        version: proven,
        expires_at,
        token: legacy.is_none().then(|| (token.hash(), token_expires_at)),
        origin: ctx.origin(),
        documents: consents::required_documents(&ctx.privacy),
    };
    let most = i64::from(ctx.auth.session_max_count);
    let near = (most - SIMULTANEOUS).max(0);
    let Some(begun) = store::insert(&mut **tx, &session, near, now).await? else {
        return Err(overtaken_by_change(tx, user_id).await?);
    };
    if let Some(token) = &legacy {
        store::insert_token(&mut **tx, id, token.hash(), now, token_expires_at).await?;
    }
    tx.audit(Event::SignedIn.by(user_id).session(id)).await?;
    if begun.others >= near {
        limit_sessions(tx, who, most).await?;
    }
    let refresh = legacy.map_or_else(|| token.encode(), |token| token.encode());
    let session = (who, begun.must_accept);
    pair(ctx, session, refresh, token_expires_at, now)
}

/// Error for a sign-in whose proof is void because the credentials changed meanwhile.
pub(crate) async fn overtaken_by_change(
    tx: &mut PgConnection,
    user_id: UserId,
) -> Result<Error, Error> {
    let status = find_account_status(tx, user_id).await?;
    Ok(match status {
        Some(status) if status.is_disabled => Error::AccountDisabled,
        _ => Error::InvalidCredentials,
    })
}

/// Ends the account's sessions beyond the `most` that were used last.
async fn limit_sessions(tx: &mut Tx<'_>, begun: Principal, most: i64) -> Result<(), Error> {
    let (now, owner) = (tx.ctx().now(), begun.user_id);
    store::lock(&mut **tx, owner).await?;
    let ended = store::end_surplus(&mut **tx, owner, begun.session_id, most, now).await?;
    if let Some(last) = ended.first() {
        let one = (ended.len() == 1).then_some(*last);
        let entry = Event::SessionDisplaced.about(owner).session(one);
        tx.audit(entry.detail(json!({ "sessions": ended.len() })))
            .await?;
    }
    Ok(())
}

pub(crate) async fn log_out(ctx: &Ctx, who: Principal) -> Result<(), Error> {
    let entry = Event::SignedOut.by(who.user_id).session(who.session_id);
    end(ctx, who, EndReason::SignedOut, entry).await?;
    Ok(())
}

pub(crate) async fn end_session(ctx: &UserCtx, id: SessionId) -> Result<(), Error> {
    let other = Principal {
        user_id: ctx.user_id(),
        session_id: id,
    };
    let entry = Event::SessionEnded.session(id);
    if end(ctx, other, EndReason::EndedRemotely, entry).await? {
        Ok(())
    } else {
        Err(Error::SessionNotFound)
    }
}

/// Returns false if there is no active session of this owner.
pub(crate) async fn end(
    ctx: &Ctx,
    who: Principal,
    reason: EndReason,
    entry: Entry,
) -> Result<bool, Error> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    if !store::end(&mut *tx, who.user_id, who.session_id, reason, now).await? {
        return Ok(false);
    }
    tx.audit(entry).await?;
    tx.commit().await?;
    revoke_access_tokens(ctx, [who.session_id], now);
    Ok(true)
}

/// In a task of its own: a disconnect must not keep the session alive.
pub(super) async fn end_reused_session<T>(ctx: &Ctx, who: Principal) -> Result<T, Error> {
    let ctx = ctx.clone();
    let ending = async move {
        let entry = Event::RefreshTokenReused.about(who.user_id);
        let entry = entry.session(who.session_id);
        end(&ctx, who, EndReason::TokenReused, entry).await
    };
    tokio::spawn(ending.in_current_span()).await??;
    Err(Error::ReusedRefreshToken)
}

/// Also voids links and pending sign-ins.
pub(crate) async fn log_out_everywhere(ctx: &UserCtx) -> Result<(), Error> {
    let now = ctx.now();
    let mut tx = ctx.begin().await?;
    let change = begin_credentials_change(&mut tx, ctx.user_id(), None)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let ended = store::end_sessions(&mut *tx, &change, None, EndReason::SignedOut, now).await?;
    let detail = json!({ "sessions": ended.len() });
    tx.audit(Event::SignedOutEverywhere.detail(detail)).await?;
    tx.commit().await?;
    revoke_access_tokens(ctx, ended, now);
    Ok(())
}

/// Ends the sessions of everybody that have begun; returns their number. Access tokens are refused from the first transaction on.
/// It waits for requests that were signing in meanwhile, until their timeout. A run that was interrupted can be repeated.
pub(crate) async fn end_all(ctx: &Ctx) -> Result<i64, Error> {
    let mut tx = ctx.begin().await?;
    let begun_until = store::revoke_all(&mut *tx, None, ctx.now()).await?;
    tx.audit(Event::SignedOutEverybody.about(None)).await?;
    tx.commit().await?;
    let waiting = tokio::time::sleep(ctx.request_timeout);
    let mut total = end_all_once(ctx, begun_until).await?;
    waiting.await;
    total += end_all_once(ctx, begun_until).await?;
    // A session that was refreshed before its row ended has a newer access token.
    store::revoke_all(&ctx.db, Some(begun_until), ctx.now()).await?;
    Ok(total)
}

async fn end_all_once(ctx: &Ctx, begun_until: DateTime<Utc>) -> Result<i64, Error> {
    let (mut total, mut after) = (0, Uuid::nil());
    while let Some((ended, last)) =
        store::end_next(&ctx.db, after, begun_until, END_BATCH, ctx.now()).await?
    {
        total += ended;
        after = last;
    }
    Ok(total)
}

/// In this process; others read the revocations from the database within a second.
pub fn revoke_access_tokens(
    state: &AppState,
    sessions: impl IntoIterator<Item = SessionId>,
    now: DateTime<Utc>,
) {
    let until = now + state.access_tokens.longest_validity();
    for id in sessions {
        state.revocation_list.revoke(id.0, until);
    }
}

/// Reads the revocations of other processes until `stop`.
pub async fn watch_revocations(state: AppState, stop: CancellationToken) {
    let read = |from, since| {
        let db = state.db.clone();
        async move { store::list_revocations(&db, from, since).await }
    };
    let (list, validity) = (
        &state.revocation_list,
        state.access_tokens.longest_validity(),
    );
    list.watch(&state.clock, validity, read, stop).await;
}

/// Tokens of a session, and whether its user had documents to accept when it began.
pub(crate) fn pair(
    state: &AppState,
    (who, must_accept): (Principal, bool),
    refresh_token: String,
    refresh_expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<TokenPair, Error> {
    let refresh_left = (refresh_expires_at - now)
        .to_std()
        .unwrap_or(Duration::ZERO);
    Ok(TokenPair {
        access_token: state.access_tokens.issue(
            who.user_id.0,
            who.session_id.0,
            must_accept,
            now,
        )?,
        token_type: "Bearer",
        expires_in: state.auth.access_ttl.as_secs(),
        refresh_token,
        refresh_expires_in: refresh_left.as_secs(),
        session_id: who.session_id,
    })
}

/// Active sessions, last used first.
pub async fn list_sessions(
    db: &Db,
    user_id: UserId,
    current: SessionId,
    paged: &PageRequest<TimeCursor>,
    now: DateTime<Utc>,
) -> Result<Page<SessionInfo>, sqlx::Error> {
    let (after, limit) = (paged.after, paged.limit);
    let rows = store::list(db, user_id, current, after, limit, now).await?;
    let position = |device: &SessionInfo| TimeCursor(device.last_used_at, device.id.0);
    Ok(Page::cut(rows, limit, position))
}
