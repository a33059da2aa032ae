//! When PostgreSQL has not responded.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Outages that are kept: a failover may have a few.
const KEPT: usize = 16;

/// The latest outages. Each begins at the last response before it.
pub(super) struct Outages {
    responded: Instant,
    is_failing: bool,
    ended: VecDeque<(Instant, Instant)>,
}

impl Default for Outages {
    fn default() -> Self {
        Self {
            responded: Instant::now(),
            is_failing: false,
            ended: VecDeque::new(),
        }
    }
}

impl Outages {
    pub(super) fn record(&mut self, responds: bool, now: Instant) {
        if !responds {
            self.is_failing = true;
            return;
        }
        if std::mem::take(&mut self.is_failing) {
            self.ended.truncate(KEPT - 1);
            self.ended.push_front((self.responded, now));
        }
        self.responded = now;
    }

    /// Time without a response within the last `age`.
    pub(super) fn within(&self, age: Duration, now: Instant) -> Duration {
        let current = self.is_failing.then_some((self.responded, now));
        let all = self.ended.iter().copied().chain(current);
        // In time until now, so that an age before the start of the clock has no overflow.
        all.map(|(begin, end)| {
            let begin = now.saturating_duration_since(begin).min(age);
            begin.saturating_sub(now.saturating_duration_since(end))
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_begin_at_the_last_response_and_end_at_the_next() {
        let seconds = Duration::from_secs;
        let start = Instant::now();
        let mut outages = Outages::default();
        for (at, responds) in [(10, true), (12, false), (20, false), (30, true), (31, true)] {
            outages.record(responds, start + seconds(at));
        }
        let within = |age, now| outages.within(seconds(age), start + seconds(now));
        assert_eq!(within(5, 31), seconds(4));
        assert_eq!(within(1, 31), seconds(0));
        assert_eq!(within(100, 31), seconds(20));
        assert_eq!(within(15, 60), seconds(0));
        outages.record(false, start + seconds(40));
        let within = |age, now| outages.within(seconds(age), start + seconds(now));
        assert_eq!(within(100, 45), seconds(20 + 14), "it lasts");
        assert_eq!(within(3, 45), seconds(3));
    }

    #[test]
    fn a_few_are_kept() {
        let start = Instant::now();
        let mut outages = Outages::default();
        for turn in 0..100 {
            outages.record(turn % 2 == 0, start + Duration::from_secs(turn));
        }
        assert_eq!(outages.ended.len(), KEPT);
    }
}
