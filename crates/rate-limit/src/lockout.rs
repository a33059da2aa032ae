//! Lockout: failures within a window are followed by a wait, and each further wait of a day is longer.

use std::time::Duration;

use crate::{Key, Limit, LimitCheck, Limiter, LockoutSteps};

/// Failure counter of a key.
#[derive(Clone, Copy, Debug)]
pub struct Counter<'a> {
    /// Policy.
    pub steps: &'a LockoutSteps,
    /// Key of the client or account that is counted.
    pub key: Key,
}

/// State of a [`Counter`].
#[derive(Clone, Copy, Debug)]
pub struct CounterState {
    /// Key of the client or account that is counted.
    pub key: Key,
    /// Time until the lockout ends; `None` without one.
    pub wait: Option<Duration>,
    /// Failures left before the next lockout.
    pub left: u32,
    /// True if there are failed attempts to clear.
    pub is_used: bool,
}

impl Counter<'_> {
    /// The waits, then the failures.
    fn checks(
        self,
        failure: impl Fn(Limit, Key) -> LimitCheck,
    ) -> impl Iterator<Item = LimitCheck> {
        let Self { steps, key } = self;
        let waits = steps.waits.iter();
        let waits = waits.map(move |wait| LimitCheck::peek(*wait, key));
        waits.chain([failure(steps.failures, key)])
    }
}

impl Limiter {
    /// State of the counters, and whether each of `others` allows, in one round trip.
    pub async fn read_counters(
        &self,
        counters: &[Counter<'_>],
        others: &[LimitCheck],
    ) -> (Vec<CounterState>, bool) {
        let lockouts = counters
            .iter()
            .map(|counter| LimitCheck::peek(counter.steps.lockouts, counter.key));
        let checks: Vec<_> = counters
            .iter()
            .flat_map(|counter| counter.checks(LimitCheck::peek))
            .chain(lockouts)
            .chain(others.iter().copied())
            .collect();
        let mut limits = self.check_resettable(&checks).await.states.into_iter();
        let mut states = Vec::with_capacity(counters.len());
        for Counter { steps, key } in counters {
            let mut current = CounterState {
                key: *key,
                wait: None,
                left: 0,
                is_used: false,
            };
            for limit in limits.by_ref().take(steps.waits.len() + 1) {
                current.wait = current.wait.max(limit.wait);
                current.left = limit.left(); // the failures come last
                current.is_used |= limit.used > 0;
            }
            states.push(current);
        }
        for current in &mut states {
            current.is_used |= limits.next().is_some_and(|lockouts| lockouts.used > 0);
        }
        (states, limits.all(|other| other.wait.is_none()))
    }

    /// Adds a failure to each counter and returns the lockouts that begin by it, with their lengths. Adds
    /// none and returns the wait where a lockout is in effect.
    pub async fn add_failure<'a>(
        &self,
        counters: &[Counter<'a>],
    ) -> Result<Vec<(&'a LockoutSteps, Duration)>, Duration> {
        let checks: Vec<_> = counters
            .iter()
            .flat_map(|counter| counter.checks(LimitCheck::spend))
            .collect();
        let decision = self.check_resettable(&checks).await;
        if let Some(wait) = decision.retry_after() {
            return Err(wait);
        }
        let mut limits = decision.states.into_iter();
        let mut lockouts = Vec::new();
        for counter in counters {
            let failures = limits.nth(counter.steps.waits.len());
            if failures.is_some_and(|failures| failures.left() == 0) {
                lockouts.push((counter.steps, self.lock_out(*counter).await));
            }
        }
        Ok(lockouts)
    }

    /// Begins the next wait, before the failures are reset: no attempt passes in between.
    async fn lock_out(&self, Counter { steps, key }: Counter<'_>) -> Duration {
        let counted = self.record(&[LimitCheck::spend(steps.lockouts, key)]).await;
        let lockouts = counted.states.first().map_or(1, |one| one.used.max(1));
        let step = usize::try_from(lockouts - 1).unwrap_or(usize::MAX);
        let wait = steps.waits[step.min(steps.waits.len() - 1)];
        self.record(&[LimitCheck::spend(wait, key)]).await;
        self.reset(&[(steps.failures, key)]).await;
        wait.window()
    }

    /// Ends the lockouts and forgets the failures.
    pub async fn clear_counters(&self, counters: &[Counter<'_>]) {
        let uses: Vec<_> = counters
            .iter()
            .flat_map(|Counter { steps, key }| {
                let waits = steps.waits.iter().copied();
                let all = waits.chain([steps.failures, steps.lockouts]);
                all.map(|limit| (limit, *key))
            })
            .collect();
        if !uses.is_empty() {
            self.reset(&uses).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use clock::Clock;
    use uuid::Uuid;

    use super::*;
    use crate::Rate;

    fn steps() -> LockoutSteps {
        let limit =
            |name, max, minutes| Limit::new(name, Rate::new(max, Duration::from_mins(minutes)));
        LockoutSteps {
            name: "test",
            failures: limit("failures", 2, 15),
            waits: vec![limit("wait-1", 1, 15), limit("wait-2", 1, 30)],
            lockouts: limit("lockouts", 64, 1_440),
        }
    }

    #[tokio::test]
    async fn each_lockout_is_longer_up_to_the_last_and_all_of_them_can_be_cleared() {
        let clock = Clock::fixed(DateTime::UNIX_EPOCH);
        let limiter = Limiter::new(None, clock.clone(), &[]);
        let steps = steps();
        let key = Key::user(Uuid::from_u128(1));
        let counters = [Counter { steps: &steps, key }];
        for minutes in [15, 30, 30] {
            let wait = Duration::from_mins(minutes);
            assert!(
                limiter
                    .add_failure(&counters)
                    .await
                    .expect("it is counted")
                    .is_empty()
            );
            let (states, _) = limiter.read_counters(&counters, &[]).await;
            assert_eq!((states[0].wait, states[0].left), (None, 1));
            let begun = limiter.add_failure(&counters).await.expect("it is counted");
            assert_eq!(begun[0].1, wait);
            assert_eq!(limiter.add_failure(&counters).await.err(), Some(wait));
            clock.advance(wait);
        }
        limiter.add_failure(&counters).await.expect("it is counted");
        limiter.clear_counters(&counters).await;
        let (states, _) = limiter.read_counters(&counters, &[]).await;
        assert!(!states[0].is_used && states[0].left == 2);
    }
}
