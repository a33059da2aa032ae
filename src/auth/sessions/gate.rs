//! The door that signed-in routes stand behind.

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use chrono::{DateTime, Utc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::access_token;
use super::bearer::{bearer_token, has_bearer};
use super::cookie::{self, Ambiguous, Cookie};
use super::csrf;
use super::revocation_list::{Denied, Verdict};
use super::store::{self, Position, Revocation};
use crate::ctx::{Caller, Principal};
use crate::state::AppState;
use crate::web::{Code, MiddlewareResult, Problem};

/// How often each process reads which sessions have ended.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// A look that takes longer is given up.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Lets a request pass that carries a good access token of a session that has not ended, and one
/// that a door before this one has let in.
pub async fn require_session<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    if request.extensions().get::<Caller>().is_some() {
        return next(request).await;
    }
    if cookie::signs(state, request.headers()) {
        return pass_browser(state, request, next).await;
    }
    let who = authenticate(state, request.headers())
        .await?
        .ok_or(Code::Unauthenticated)?;
    Caller::from(who).enter(request.extensions_mut());
    next(request).await
}

/// Lets a request pass that a browser signs by its cookie, and takes the cookie back where it turns
/// out to be good for nothing.
async fn pass_browser<F: Future<Output = MiddlewareResult>>(
    state: &AppState,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> MiddlewareResult {
    let changes_something = !request.method().is_safe();
    let admitted = by_cookie(state, request.headers()).await;
    let who = match admitted.and_then(|who| who.ok_or_else(|| Code::Unauthenticated.into())) {
        Ok(who) => who,
        Err(problem) if problem.code() == Code::Unauthenticated => {
            let refusal = problem.into_response();
            return Ok(cookie::take_back(state, refusal, &[Cookie::Access]));
        }
        Err(problem) => return Err(problem),
    };
    if changes_something {
        csrf::check_in(state, request.headers(), who.session_id)?;
    }
    Caller::from(who).enter(request.extensions_mut());
    let answer = next(request).await;
    let has_ended = || {
        state
            .ended_sessions
            .verdict(who.user_id.0, who.session_id.0)
            == Verdict::Denied
    };
    if changes_something && has_ended() {
        return Ok(cookie::clear(state, answer.into_response()));
    }
    answer
}

/// Who the access cookie speaks for; `None` when there is none.
pub(super) async fn by_cookie(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Problem> {
    match Cookie::Access.find(state, headers) {
        Ok(None) => Ok(None),
        Ok(Some(token)) => holder(state, token).await.map(Some),
        Err(Ambiguous) => Err(Problem::unauthenticated_token()),
    }
}

/// Authenticates by the bearer token; `None` when the request has none.
pub(super) async fn authenticate(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Principal>, Problem> {
    if !has_bearer(headers) {
        return Ok(None);
    }
    let token = bearer_token(headers).ok_or_else(Problem::unauthenticated_token)?;
    holder(state, token).await.map(Some)
}

/// Who an access token speaks for, if its session has not ended.
async fn holder(state: &AppState, token: &str) -> Result<Principal, Problem> {
    let now = state.clock.now();
    let who = access_token::read(&state.keys, &state.auth, token, now)
        .map_err(|_| Problem::unauthenticated_token())?;
    let lives = match state
        .ended_sessions
        .verdict(who.user_id.0, who.session_id.0)
    {
        Verdict::Allowed => true,
        Verdict::Denied => false,
        // The list is behind: ask the truth, and fail if it cannot be had.
        Verdict::Unknown => {
            store::session_lives(&state.db, who.user_id, who.session_id, now).await?
        }
    };
    lives
        .then_some(who)
        .ok_or_else(Problem::unauthenticated_token)
}

/// Keeps the revocation list up to date until `stop`.
pub async fn watch_ended_sessions(state: AppState, stop: CancellationToken) {
    let mut seen = None;
    loop {
        let looking = timeout(LOOK_WITHIN, look(&state, seen));
        // Requests ask the database themselves meanwhile, so that nothing ended comes alive. The next
        // look reads everything: another server may have taken over.
        match stop.run_until_cancelled(looking).await {
            None => return,
            Some(Ok(Ok(read))) => seen = Some(read),
            Some(Ok(Err(error))) => {
                seen = None;
                tracing::warn!(%error, "ended sessions cannot be read");
            }
            Some(Err(_)) => {
                seen = None;
                tracing::warn!("ended sessions cannot be read in time");
            }
        }
        tokio::select! {
            () = sleep(WATCH_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Position that one read of the revocations leaves to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Everything before this transaction.
    before: i64,
    /// On the server that was started then.
    server: DateTime<Utc>,
}

/// Reads the revocations that were not visible at the last look, or all whose access tokens may still
/// run.
async fn look(state: &AppState, mut seen: Option<Seen>) -> Result<Seen, sqlx::Error> {
    let now = state.clock.now();
    let longest = access_token::expires_after(&state.auth, now) - now;
    let mut from = Position {
        xid: seen.map_or(0, |seen| seen.before),
        id: 0,
    };
    let mut begun: Option<Seen> = None;
    loop {
        let page = store::list_revocations(&state.db, from, now - longest).await?;
        let before = page.oldest_running;
        let this = *begun.get_or_insert(Seen {
            before,
            server: page.server,
        });
        if page.server != this.server || seen.is_some_and(|seen| seen.server != this.server) {
            // The position is one of another server.
            (seen, begun, from) = (None, None, Position::default());
            continue;
        }
        let denied = page.revocations.into_iter().map(|revocation| {
            let until = access_token::expires_after(&state.auth, revocation.ended_at);
            (denied(revocation), until)
        });
        let Some(next) = page.next else {
            state.ended_sessions.fill(denied, now);
            return Ok(this);
        };
        state.ended_sessions.add(denied);
        from = next;
    }
}

fn denied(revocation: Revocation) -> Denied {
    match (revocation.session_ids, revocation.begun_until) {
        (None, Some(made_until)) => Denied::AllOf {
            owner: revocation.user_id,
            made_until,
            kept: revocation.kept_session_id,
        },
        (ids, _) => Denied::Ids(ids.unwrap_or_default()),
    }
}
