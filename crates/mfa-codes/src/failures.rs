//! Limit of wrong codes.

use chrono::{DateTime, TimeDelta, Utc};

/// Sliding-window log: times of wrong codes within the last hour.
#[derive(Clone, Debug, Default)]
pub struct Failures(Vec<DateTime<Utc>>);

const WINDOW: TimeDelta = TimeDelta::hours(1);

impl From<Vec<DateTime<Utc>>> for Failures {
    fn from(times: Vec<DateTime<Utc>>) -> Self {
        Self(times)
    }
}

impl Failures {
    /// Their times, to store.
    #[must_use]
    pub fn times(&self) -> &[DateTime<Utc>] {
        &self.0
    }

    /// Time until the next code is accepted, after `most` wrong ones within the window.
    #[must_use]
    pub fn wait(&self, most: usize, now: DateTime<Utc>) -> Option<TimeDelta> {
        let recent: Vec<_> = self.recent(now).collect();
        let oldest = recent.len().checked_sub(most)?;
        recent.get(oldest).map(|at| *at + WINDOW - now)
    }

    /// With a failure now, without those before the window.
    #[must_use]
    pub fn and_now(&self, now: DateTime<Utc>) -> Self {
        Self(self.recent(now).chain([now]).collect())
    }

    fn recent(&self, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        // Times in the future, of a clock that was ahead, count as now.
        self.0
            .iter()
            .map(move |at| (*at).min(now))
            .filter(move |at| now - *at < WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    #[test]
    fn only_the_last_hours_failures_count_and_the_oldest_says_how_long() {
        let mut failures = Failures(Vec::new());
        for minute in [0, 10, 20] {
            assert_eq!(failures.wait(3, at(minute)), None);
            failures = failures.and_now(at(minute));
        }
        assert_eq!(failures.wait(3, at(20)), Some(TimeDelta::minutes(40)));
        assert_eq!(failures.wait(3, at(59)), Some(TimeDelta::minutes(1)));
        assert_eq!(failures.wait(3, at(60)), None);
        assert_eq!(failures.and_now(at(60)).0.len(), 3);
        assert_eq!(failures.wait(2, at(60)), Some(TimeDelta::minutes(10)));
    }

    #[test]
    fn a_clock_that_was_ahead_locks_nobody_out_for_longer() {
        let failures = Failures(vec![at(1_000); 3]);
        assert_eq!(failures.wait(3, at(0)), Some(TimeDelta::hours(1)));
    }
}
