//! Lag of a standby by positions in the write-ahead log, and when it is read.
//!
//! The watch notes the primary's position twice a second, with the time before it asked. A standby that has replayed up to
//! one of these positions has all that was committed by that time, so that the age of the newest such position bounds the
//! lag. `pg_last_xact_replay_timestamp()` would grow on an idle primary, and `pg_last_wal_receive_lsn()` says nothing
//! while the receiver is stopped. Positions of both sides are right in each case: on an idle primary the newest position is
//! replayed, so that the lag is that of the measurement; with a stopped receiver, or a paused replay, the lag grows from the
//! first write that the standby has not replayed, and is none as long as there is none. They need no table, no write and
//! no privilege.
//!
//! With `synchronous_commit = off` a commit is visible up to three times `wal_writer_delay` before its position is
//! written: the lag can be larger by that.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Positions that are kept. Beyond, every second one of the older half is removed: the lag is then less exact.
const KEPT: usize = 256;

/// How long a standby that was not read must be near before it is read again.
const NEAR_FOR: Duration = Duration::from_secs(5);

/// A position in the write-ahead log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(pub u64);

/// As PostgreSQL writes a `pg_lsn`.
impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// Position of the primary, and a time at which it was not further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub at: Instant,
    pub lsn: Lsn,
}

/// Positions of the primary, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Positions(VecDeque<Position>);

impl Positions {
    pub(super) fn push(&mut self, position: Position) {
        match self.0.back_mut() {
            // Nothing was written meanwhile.
            Some(last) if last.lsn == position.lsn => {
                last.at = position.at;
                return;
            }
            // Another server has become the primary, and had less.
            Some(last) if last.lsn > position.lsn => self.0.clear(),
            _ => {}
        }
        self.0.push_back(position);
        if self.0.len() > KEPT {
            let newer = self.0.split_off(KEPT / 2);
            let older = std::mem::replace(&mut self.0, newer);
            for kept in older
                .into_iter()
                .step_by(2)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
            {
                self.0.push_front(kept);
            }
        }
    }

    /// Bound on the lag of a standby that has replayed so far; `None` if it is behind all positions.
    pub(super) fn lag(&self, replayed: Lsn, now: Instant) -> Option<Duration> {
        let mut newest_first = self.0.iter().rev();
        let reached = newest_first.find(|position| position.lsn <= replayed)?;
        Some(now.saturating_duration_since(reached.at))
    }

    /// Age of the oldest position: a standby behind all of them lags by more.
    pub(super) fn longest(&self, now: Instant) -> Duration {
        let oldest = self.0.front();
        oldest.map_or(Duration::ZERO, |it| now.saturating_duration_since(it.at))
    }

    /// The oldest position that is not older than `age`, or else the newest.
    pub(super) fn floor(&self, age: Duration, now: Instant) -> Option<Position> {
        let young = |position: &&Position| now.saturating_duration_since(position.at) <= age;
        self.0.iter().find(young).or(self.0.back()).copied()
    }
}

/// Decides by the lag whether the standby is read, with hysteresis: no longer as soon as it lags by more than the bound
/// or cannot be measured, and again once it has been within half of the bound for [`NEAR_FOR`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    max_lag: Duration,
    is_used: bool,
    has_failed: bool,
    near_since: Option<Instant>,
}

impl Usage {
    pub(super) const fn new(max_lag: Duration) -> Self {
        Self {
            max_lag,
            is_used: false,
            has_failed: false,
            near_since: None,
        }
    }

    pub(super) const fn is_used(&self) -> bool {
        self.is_used
    }

    /// Takes a measurement, `None` if there is none.
    pub(super) fn record(&mut self, lag: Option<Duration>, now: Instant) {
        let Some(lag) = lag.filter(|lag| *lag <= self.max_lag) else {
            *self = Self {
                has_failed: true,
                ..Self::new(self.max_lag)
            };
            return;
        };
        if self.is_used {
            return;
        }
        if lag > self.max_lag / 2 {
            self.near_since = None;
            return;
        }
        // Not by one measurement: the next one finds a standby of another primary.
        let Some(since) = self.near_since else {
            self.near_since = Some(now);
            return;
        };
        self.is_used = !self.has_failed || now.duration_since(since) >= NEAR_FOR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn positions(start: Instant, all: &[(u32, u64)]) -> Positions {
        let mut positions = Positions::default();
        for &(second, lsn) in all {
            let at = start + SECOND * second;
            positions.push(Position { at, lsn: Lsn(lsn) });
        }
        positions
    }

    #[test]
    fn a_position_is_written_as_postgresql_does() {
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        assert_eq!(Lsn(0x10).to_string(), "0/10");
    }

    #[test]
    fn the_lag_is_the_age_of_what_was_replayed_last() {
        let start = Instant::now();
        let busy = positions(start, &[(0, 100), (1, 200), (2, 300)]);
        let now = start + SECOND * 3;
        assert_eq!(busy.lag(Lsn(300), now), Some(SECOND));
        assert_eq!(busy.lag(Lsn(299), now), Some(SECOND * 2));
        assert_eq!(busy.lag(Lsn(100), now), Some(SECOND * 3));
        assert_eq!(busy.lag(Lsn(99), now), None);
        assert_eq!(busy.longest(now), SECOND * 3);
    }

    #[test]
    fn an_idle_primary_makes_no_lag() {
        let start = Instant::now();
        let idle = positions(start, &[(0, 100), (1_000, 100), (2_000, 100)]);
        assert_eq!(idle.lag(Lsn(100), start + SECOND * 2_001), Some(SECOND));
        // Without a write for an hour, and one just now that has not been replayed.
        let written = positions(start, &[(0, 100), (3_600, 100), (3_601, 101)]);
        assert_eq!(written.lag(Lsn(100), start + SECOND * 3_601), Some(SECOND));
    }

    #[test]
    fn positions_of_a_primary_that_had_less_replace_the_others() {
        let start = Instant::now();
        let failed_over = positions(start, &[(0, 100), (1, 200), (2, 150)]);
        assert_eq!(failed_over.lag(Lsn(100), start + SECOND * 3), None);
    }

    #[test]
    fn many_positions_are_kept_less_exactly() {
        let start = Instant::now();
        let all: Vec<_> = (0..2_000).map(|n| (n, u64::from(n))).collect();
        let kept = positions(start, &all);
        assert!(kept.0.len() <= KEPT);
        assert!(
            kept.0
                .iter()
                .zip(kept.0.iter().skip(1))
                .all(|(a, b)| a.lsn < b.lsn)
        );
        let now = start + SECOND * 2_000;
        for replayed in [0, 700, 1_990] {
            let exact = SECOND * u32::try_from(2_000 - replayed).expect("it is small");
            let lag = kept.lag(Lsn(replayed), now).expect("it is known");
            assert!(
                lag >= exact && lag <= exact * 2 + SECOND,
                "{replayed}: {lag:?}"
            );
        }
    }

    #[test]
    fn the_floor_is_as_old_as_the_bound_allows() {
        let start = Instant::now();
        let busy = positions(start, &[(0, 100), (1, 200), (2, 300), (3, 400)]);
        let floor = |age: u32| busy.floor(SECOND * age, start + SECOND * 4);
        assert_eq!(floor(2).map(|it| it.lsn), Some(Lsn(300)));
        assert_eq!(floor(60).map(|it| it.lsn), Some(Lsn(100)));
        assert_eq!(floor(0).map(|it| it.lsn), Some(Lsn(400)));
        assert_eq!(Positions::default().floor(SECOND, start), None);
    }

    #[test]
    fn a_standby_is_read_at_once_and_after_a_failure_once_it_has_been_near_for_a_while() {
        let start = Instant::now();
        let after = |seconds: u32| start + SECOND * seconds;
        let mut usage = Usage::new(SECOND * 4);
        assert!(!usage.is_used());
        usage.record(Some(SECOND), after(0));
        assert!(!usage.is_used(), "by one measurement");
        usage.record(Some(SECOND), after(0));
        assert!(usage.is_used(), "at once");
        usage.record(Some(SECOND * 4), after(1));
        assert!(usage.is_used(), "within the bound");
        usage.record(Some(SECOND * 5), after(2));
        assert!(!usage.is_used(), "beyond it");
        usage.record(Some(SECOND * 3), after(3));
        usage.record(Some(SECOND * 2), after(4));
        usage.record(Some(SECOND * 2), after(8));
        assert!(!usage.is_used(), "not for long enough");
        usage.record(Some(SECOND * 3), after(9));
        usage.record(Some(SECOND), after(10));
        assert!(!usage.is_used(), "it was further behind in between");
        usage.record(Some(SECOND), after(15));
        assert!(usage.is_used());
        usage.record(None, after(16));
        assert!(!usage.is_used(), "it cannot be measured");
    }
}
