//! Keeps the revocation list of this process up to date from the database.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::access_token;
use super::revocation_list::RevokedSessions;
use super::store::{self, Position, Revocation};
use crate::state::AppState;

const READ_EVERY: Duration = Duration::from_millis(500);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub async fn watch_revocations(state: AppState, stop: CancellationToken) {
    let mut seen = None;
    loop {
        let reading = timeout(READ_TIMEOUT, read_new(&state, seen));
        // While the list is stale, requests read the database themselves: it fails closed. The next pass reads
        // everything, because another server may have taken over.
        match stop.run_until_cancelled(reading).await {
            None => return,
            Some(Ok(Ok(read))) => seen = Some(read),
            Some(Ok(Err(error))) => {
                seen = None;
                tracing::warn!(%error, "session revocations cannot be read");
            }
            Some(Err(_)) => {
                seen = None;
                tracing::warn!("reading session revocations timed out");
            }
        }
        tokio::select! {
            () = sleep(READ_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Where the next pass continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Number of the transaction up to which everything was read.
    before: i64,
    /// Start of the server that the number belongs to.
    server: DateTime<Utc>,
}

/// Reads the revocations that the last pass could not see; without one, all whose access tokens may not have
/// expired.
async fn read_new(state: &AppState, mut seen: Option<Seen>) -> Result<Seen, sqlx::Error> {
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
            // The position belongs to another server.
            (seen, begun, from) = (None, None, Position::default());
            continue;
        }
        let revoked = page.revocations.into_iter().map(|revocation| {
            let until = access_token::expires_after(&state.auth, revocation.ended_at);
            (revoked(revocation), until)
        });
        let Some(next) = page.next else {
            state.revocation_list.fill(revoked, now);
            return Ok(this);
        };
        state.revocation_list.add(revoked);
        from = next;
    }
}

fn revoked(revocation: Revocation) -> RevokedSessions {
    match (revocation.session_ids, revocation.begun_until) {
        (None, Some(created_until)) => RevokedSessions::AllUntil {
            owner: revocation.user_id,
            created_until,
            kept: revocation.kept_session_id,
        },
        (ids, _) => RevokedSessions::Ids(ids.unwrap_or_default()),
    }
}
