//! Keeps the revocation list of this process up to date from a table in PostgreSQL.

use std::fmt::Display;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clock::Clock;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{RevocationList, RevokedSessions};

const READ_EVERY: Duration = Duration::from_millis(500);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a read begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Transactions before this number have ended, and their rows were read.
    pub xid: i64,
    /// Rows of that transaction before this one were read.
    pub id: i64,
}

/// Result of one read.
#[derive(Debug)]
pub struct RevocationPage {
    /// The oldest running transaction: one that commits after later ones is not missed.
    pub oldest_running: i64,
    /// Start of the server. Transaction numbers of another one (promoted standby, restored backup) do not compare.
    pub server: DateTime<Utc>,
    /// Revocations with the time at which the sessions ended.
    pub revocations: Vec<(RevokedSessions, DateTime<Utc>)>,
    /// Where the next page begins, if there is one.
    pub next: Option<Position>,
}

/// Where the next pass continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// Number of the transaction up to which everything was read.
    before: i64,
    /// Start of the server that the number belongs to.
    server: DateTime<Utc>,
}

impl RevocationList {
    /// Fills the list twice a second until `stop`. `read` returns the revocations from a position of sessions that
    /// ended after a time; a revocation stays on the list for `validity`, the longest of an access token.
    pub async fn watch<E: Display, F: Future<Output = Result<RevocationPage, E>>>(
        &self,
        clock: &Clock,
        validity: TimeDelta,
        read: impl Fn(Position, DateTime<Utc>) -> F,
        stop: CancellationToken,
    ) {
        let mut seen = None;
        loop {
            let reading = timeout(
                READ_TIMEOUT,
                self.read_new(clock.now(), validity, &read, seen),
            );
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

    /// Reads the revocations that the last pass could not see; without one, all whose access tokens may not have
    /// expired.
    async fn read_new<E, F: Future<Output = Result<RevocationPage, E>>>(
        &self,
        now: DateTime<Utc>,
        validity: TimeDelta,
        read: impl Fn(Position, DateTime<Utc>) -> F,
        mut seen: Option<Seen>,
    ) -> Result<Seen, E> {
        let mut from = Position {
            xid: seen.map_or(0, |seen| seen.before),
            id: 0,
        };
        let mut begun: Option<Seen> = None;
        loop {
            let page = read(from, now - validity).await?;
            let this = *begun.get_or_insert(Seen {
                before: page.oldest_running,
                server: page.server,
            });
            if page.server != this.server || seen.is_some_and(|seen| seen.server != this.server) {
                // The position belongs to another server.
                (seen, begun, from) = (None, None, Position::default());
                continue;
            }
            let revoked = page.revocations.into_iter();
            let revoked = revoked.map(|(revoked, ended_at)| (revoked, ended_at + validity));
            let Some(next) = page.next else {
                self.fill(revoked, now);
                return Ok(this);
            };
            self.add(revoked);
            from = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use uuid::Uuid;

    use super::*;
    use crate::RevocationStatus;

    fn page(server: DateTime<Utc>, oldest_running: i64, id: u128) -> RevocationPage {
        let revoked = RevokedSessions::Ids(vec![Uuid::from_u128(id)]);
        RevocationPage {
            oldest_running,
            server,
            revocations: vec![(revoked, server)],
            next: None,
        }
    }

    #[tokio::test]
    async fn a_pass_reads_on_from_the_oldest_running_transaction_of_the_same_server() {
        let list = RevocationList::default();
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let validity = TimeDelta::minutes(16);
        let positions = Mutex::new(Vec::new());
        let read = async |server, seen| {
            let read = |from: Position, since| {
                assert_eq!(since, now - validity);
                let mut positions = positions.lock().expect("nobody panics here");
                positions.push(from.xid);
                let mut page = page(server, 7, positions.len() as u128);
                page.next = (positions.len() == 1).then_some(Position { xid: 5, id: 2 });
                std::future::ready(Ok::<_, String>(page))
            };
            list.read_new(now, validity, read, seen).await
        };
        let first = read(now, None).await.expect("it is read");
        assert_eq!((first.before, first.server), (7, now));
        let again = read(now, Some(first)).await.expect("it is read");
        let promoted = now + TimeDelta::seconds(1);
        let other = read(promoted, Some(again)).await.expect("it is read");
        assert_eq!(other.server, promoted);
        assert_eq!(
            *positions.lock().expect("nobody panics here"),
            [0, 5, 7, 7, 0]
        );
        for id in 1..=3 {
            let status = list.status(Uuid::nil(), Uuid::from_u128(id));
            assert_eq!(status, RevocationStatus::Revoked, "{id}");
        }
    }
}
