//! Uses that this process has allowed and that are not in Redis yet.
//!
//! Each of `replicas` processes may have so many uses of a key that are not in Redis that all of them together are at most
//! a tenth of the limit. A decision by Redis is exact but for those of the other processes.

use std::time::Duration;

use crate::lane::micros;
use crate::local::Few;
use crate::{Decision, Key, Limit, LimitState};

/// Share of a limit from which Redis decides about each use: a half.
const EXACT_FROM: u32 = 2;

/// Share of a limit that all processes may exceed it by: a tenth.
const EXCESS: u32 = 10;

/// Uses that are sent together are recorded at the time of the last: they are at most so far apart.
const SPAN: Duration = Duration::from_millis(250);

/// Uses of a key that are sent together at most: the script adds them in one call, whose arguments Lua bounds.
const SENT_MAX: u32 = 1_000;

/// Uses of a limit that are sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) limit: Limit,
    pub(crate) key: Key,
    /// At least 1.
    pub(crate) count: u32,
    /// Time of the last, by the process's clock in microseconds.
    pub(crate) latest: u64,
}

/// How a process decides about a request by itself.
pub(crate) enum Triage {
    /// Allowed, and counted in Redis later.
    Deferred(Decision),
    /// A limit is used up.
    Rejected(Decision),
    /// Redis decides, after these uses.
    Undecided(Few<Uses>),
}

/// Deferred uses of a key, and the newest state of Redis.
#[derive(Default)]
pub(crate) struct Deferral {
    /// Uses that were not sent.
    pending: u32,
    /// Uses that were sent without a reply yet.
    in_flight: u32,
    /// Times of the first and the last that are pending.
    since: u64,
    latest: u64,
    /// Uses in Redis, and when the oldest expires.
    used: u32,
    reset_at: u64,
}

impl Deferral {
    /// Returns whether all uses are in Redis.
    pub(crate) const fn is_counted(&self) -> bool {
        self.pending + self.in_flight == 0
    }

    /// Returns whether it keeps a state of Redis that has not expired.
    pub(crate) const fn is_live(&self, now: u64) -> bool {
        self.reset_at > now
    }

    /// Uses by all processes, as far as this one has learned of them.
    const fn used(&self, now: u64) -> u32 {
        let uncounted = self.pending + self.in_flight;
        if self.is_live(now) {
            self.used.saturating_add(uncounted)
        } else {
            uncounted
        }
    }

    /// Returns whether one more use may be deferred. `local` is the state of this process's own uses.
    pub(crate) fn has_room(
        &self,
        limit: Limit,
        local: &LimitState,
        replicas: u32,
        now: u64,
    ) -> bool {
        let uncounted_max = (limit.max() / EXCESS.saturating_mul(replicas)).min(SENT_MAX);
        let used = self.used(now).max(local.used);
        local.wait.is_none()
            && self.pending + self.in_flight < uncounted_max
            && used < limit.max() / EXACT_FROM
            && (self.pending == 0 || now.saturating_sub(self.since) < micros(SPAN))
    }

    /// Defers one more use. Returns whether it is the first that is pending.
    pub(crate) const fn defer(&mut self, now: u64) -> bool {
        self.pending += 1;
        self.latest = now;
        let is_first = self.pending == 1;
        if is_first {
            self.since = now;
        }
        is_first
    }

    /// The state with the newest count of Redis.
    pub(crate) fn state(&self, local: LimitState, now: u64) -> LimitState {
        let until = Duration::from_micros(self.reset_at.saturating_sub(now));
        LimitState {
            used: self.used(now).max(local.used),
            reset: if self.is_live(now) {
                until
            } else {
                local.reset
            },
            ..local
        }
    }

    /// Takes the pending uses in order to send them.
    pub(crate) fn take(&mut self, limit: Limit, key: Key) -> Option<Uses> {
        let count = std::mem::take(&mut self.pending);
        self.in_flight += count;
        (count > 0).then_some(Uses {
            limit,
            key,
            count,
            latest: self.latest,
        })
    }

    /// Redis has replied about uses that were taken, or cannot.
    pub(crate) const fn settle(&mut self, count: u32) {
        self.in_flight = self.in_flight.saturating_sub(count);
    }

    /// Stores a state of Redis.
    pub(crate) fn learn(&mut self, state: &LimitState, now: u64) {
        self.used = state.used;
        self.reset_at = now.saturating_add(micros(state.reset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn fresh(limit: Limit) -> LimitState {
        LimitState {
            limit,
            used: 0,
            reset: limit.window(),
            wait: None,
        }
    }

    /// Number of uses that may be deferred at once.
    fn room(limit: Limit, known: u32, replicas: u32) -> u32 {
        let mut deferral = Deferral::default();
        let state = LimitState {
            used: known,
            ..fresh(limit)
        };
        deferral.learn(&state, NOW);
        let mut count = 0;
        while deferral.has_room(limit, &fresh(limit), replicas, NOW) {
            deferral.defer(NOW);
            count += 1;
        }
        count
    }

    #[test]
    fn all_processes_may_exceed_a_limit_by_a_tenth() {
        let limit = Limit::per_minute("free", 400);
        assert_eq!(room(limit, 0, 1), 40);
        assert_eq!(room(limit, 0, 4), 10);
        assert_eq!(room(limit, 0, 40), 1);
        assert_eq!(room(limit, 0, 41), 0);
        assert_eq!(room(Limit::per_minute("free", 9), 0, 1), 0);
    }

    #[test]
    fn nothing_is_deferred_from_half_of_a_limit_on() {
        let limit = Limit::per_minute("free", 400);
        assert_eq!(room(limit, 195, 1), 5);
        assert_eq!(room(limit, 200, 1), 0);
        let mut deferral = Deferral::default();
        let used = LimitState {
            used: 200,
            ..fresh(limit)
        };
        assert!(!deferral.has_room(limit, &used, 1, NOW), "its own uses");
        deferral.learn(&used, NOW);
        let expired = NOW + micros(limit.window());
        assert!(deferral.has_room(limit, &fresh(limit), 1, expired));
    }

    #[test]
    fn uses_that_are_sent_together_are_close_in_time() {
        let limit = Limit::per_minute("free", 400);
        let mut deferral = Deferral::default();
        deferral.defer(NOW);
        assert!(deferral.has_room(limit, &fresh(limit), 1, NOW + 249_999));
        deferral.defer(NOW + 100);
        assert!(!deferral.has_room(limit, &fresh(limit), 1, NOW + 250_000));
        let key = Key::user(uuid::Uuid::nil());
        let uses = deferral.take(limit, key).unwrap();
        assert_eq!((uses.count, uses.latest), (2, NOW + 100));
        assert!(deferral.has_room(limit, &fresh(limit), 1, NOW + 250_000));
    }

    #[test]
    fn uses_without_a_reply_leave_no_room_for_others() {
        let limit = Limit::per_minute("free", 400);
        let mut deferral = Deferral::default();
        for _ in 0..40 {
            deferral.defer(NOW);
        }
        let uses = deferral.take(limit, Key::user(uuid::Uuid::nil())).unwrap();
        assert!(!deferral.has_room(limit, &fresh(limit), 1, NOW));
        deferral.settle(uses.count);
        assert!(deferral.has_room(limit, &fresh(limit), 1, NOW));
    }
}
