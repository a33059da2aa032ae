//! Times at which those who were refused can come back, so that the pool can serve them by then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The first turn: about as long as those who are waiting already.
const MIN: Duration = Duration::from_secs(2);

/// No time beyond it is stated. It is enough for 36,000 passwords on each core at 20 a second.
const MAX: Duration = Duration::from_mins(30);

/// Share of the pool that is left to those who come without a turn: a fifth.
const RESERVE: u32 = 5;

/// Weight of a new measurement in the mean: an eighth.
const WEIGHT: u32 = 8;

#[derive(Debug)]
pub(super) struct Turns {
    threads: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Mean time of a computation.
    mean: Duration,
}

impl Turns {
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

    /// Returns the time until the next turn that nobody has.
    pub(super) fn next(&self, now: Instant) -> Duration {
        let mut state = self.lock();
        let step = state.mean * RESERVE / (RESERVE - 1) / self.threads;
        let last = state.last.unwrap_or(now).max(now + MIN);
        let turn = (last + step).min(now + MAX);
        state.last = Some(turn);
        turn - now
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> Turns {
        let turns = Turns::new(2);
        turns.observe(Duration::from_millis(40));
        turns
    }

    #[test]
    fn turns_leave_a_fifth_of_the_pool_to_others() {
        let (turns, now) = (turns(), Instant::now());
        // 40 ms on two threads are 50 a second, of which 40 are turns.
        for number in 1..=400 {
            assert_eq!(turns.next(now), MIN + number * Duration::from_millis(25));
        }
        let later = now + Duration::from_secs(5);
        assert_eq!(turns.next(later), Duration::from_millis(7_025));
        let much_later = now + Duration::from_mins(5);
        assert_eq!(turns.next(much_later), MIN + Duration::from_millis(25));
    }

    #[test]
    fn no_time_is_longer_than_half_an_hour() {
        let (turns, now) = (turns(), Instant::now());
        let longest = (0..200_000).map(|_| turns.next(now)).max();
        assert_eq!(longest, Some(MAX));
    }

    #[test]
    fn the_mean_follows_what_is_measured() {
        let turns = turns();
        for _ in 0..100 {
            turns.observe(Duration::from_millis(200));
        }
        let step = turns.next(Instant::now()) - MIN;
        assert!(step > Duration::from_millis(124) && step <= Duration::from_millis(125));
    }
}
