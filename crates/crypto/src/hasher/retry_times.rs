//! Times at which those who were refused can come back, so that the pool can serve them by then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first time: about as long as those who are waiting already.
const MIN: Duration = Duration::from_secs(2);

/// Longest time. At 20 passwords a second, 28,800 on each core have one of their own before it; later ones are spread over its
/// second half.
const MAX: Duration = Duration::from_mins(30);

/// Share of the pool that is left to those who come for the first time: a fifth.
const RESERVE: u32 = 5;

/// Weight of a new measurement in the mean: an eighth.
const WEIGHT: u32 = 8;

/// Time without a refusal after which earlier ones no longer count.
const CALM_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct RetryTimes {
    threads: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest time that somebody got.
    latest: Option<Instant>,
    refused_at: Option<Instant>,
    /// Refusals that got a time in the second half.
    beyond: u32,
    /// Mean time of a computation.
    mean: Duration,
}

impl RetryTimes {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1),
            state: Mutex::default(),
        }
    }

    /// Notes how long a computation took.
    pub(super) fn observe(&self, took: Duration) {
        let mut state = self.lock();
        state.mean = if state.mean.is_zero() {
            took
        } else {
            (state.mean * (WEIGHT - 1) + took) / WEIGHT
        };
    }

    /// Returns the time from now until the pool has room for one more of those who were refused.
    pub(super) fn next(&self, now: Instant) -> Duration {
        let mut state = self.lock();
        let refused_at = state.refused_at.replace(now);
        if refused_at.is_some_and(|at| now.saturating_duration_since(at) > CALM_AFTER) {
            state.latest = None;
        }
        let step = state.mean * RESERVE / (RESERVE - 1) / self.threads;
        let latest = state.latest.unwrap_or(now).max(now + MIN);
        let next = latest + step;
        if next > now + MAX {
            state.beyond = state.beyond.wrapping_add(1);
            return spread(state.beyond);
        }
        state.latest = Some(next);
        next.saturating_duration_since(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time in the second half of [`MAX`], evenly spread by the fractions of the multiples of the golden ratio.
fn spread(number: u32) -> Duration {
    let fraction = f64::from(number.wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX);
    (MAX / 2).mul_f64(1.0 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_times() -> RetryTimes {
        let times = RetryTimes::new(2);
        times.observe(Duration::from_millis(40));
        times
    }

    #[test]
    fn times_leave_a_fifth_of_the_pool_to_others() {
        let (times, now) = (retry_times(), Instant::now());
        // 40 ms on two threads are 50 a second, of which 40 are for those who were refused.
        for number in 1..=400 {
            assert_eq!(times.next(now), MIN + number * Duration::from_millis(25));
        }
        let later = now + Duration::from_secs(5);
        assert_eq!(times.next(later), Duration::from_millis(7_025));
    }

    #[test]
    fn a_flood_is_over_half_a_minute_after_its_last_refusal() {
        let (times, now) = (retry_times(), Instant::now());
        for _ in 0..10_000 {
            times.next(now);
        }
        let busy = now + CALM_AFTER;
        assert!(times.next(busy) > Duration::from_mins(3));
        let calm = busy + CALM_AFTER + Duration::from_millis(1);
        assert_eq!(times.next(calm), MIN + Duration::from_millis(25));
    }

    #[test]
    fn beyond_half_an_hour_times_are_spread_over_its_second_half() {
        let (times, now) = (retry_times(), Instant::now());
        let all: Vec<_> = (0..200_000).map(|_| times.next(now)).collect();
        assert!(all.iter().all(|time| *time <= MAX));
        for minute in 15..30 {
            let (begin, end) = (Duration::from_mins(minute), Duration::from_mins(minute + 1));
            let count = all.iter().filter(|it| (begin..end).contains(it)).count();
            // Of the times of their own 2,400 are in each minute, and a fifteenth of the others.
            assert!((10_000..12_000).contains(&count), "{minute}: {count}");
        }
    }

    #[test]
    fn the_mean_follows_what_is_measured() {
        let times = retry_times();
        for _ in 0..100 {
            times.observe(Duration::from_millis(200));
        }
        let (next, slowest) = (times.next(Instant::now()), MIN + Duration::from_millis(125));
        assert!(next <= slowest && next > MIN + Duration::from_millis(124));
    }
}
