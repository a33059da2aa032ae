//! Bound on the calls of a second, in this process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Gives each call the next turn; calls are evenly spaced.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn per_second(calls: u32) -> Self {
        Self {
            interval: Duration::from_secs(1) / calls.max(1),
            next: Mutex::default(),
        }
    }

    /// Takes the next turn; `false` if it comes after `deadline`, and no turn is taken.
    pub(crate) async fn wait(&self, deadline: Instant) -> bool {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            // A second's worth of unused calls may be taken at once.
            let earliest = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
            let turn = next.map_or(earliest, |next| next.max(earliest));
            if turn >= deadline {
                return false;
            }
            *next = Some(turn + self.interval);
            turn
        };
        tokio::time::sleep_until(turn).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_has_as_many_calls_as_allowed_and_a_burst_of_as_many() {
        let pace = Pace::per_second(10);
        let began = Instant::now();
        let late = began + Duration::from_mins(1);
        for _ in 0..31 {
            assert!(pace.wait(late).await);
        }
        assert_eq!(began.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_after_the_deadline_is_not_taken() {
        let pace = Pace::per_second(1);
        let soon = Instant::now() + Duration::from_millis(500);
        assert!(pace.wait(soon).await);
        assert!(pace.wait(soon).await);
        assert!(!pace.wait(soon).await);
        assert!(!pace.wait(soon).await);
        assert!(pace.wait(soon + Duration::from_secs(2)).await);
    }
}
