//! Steps of a lockout: waits that double.

use std::time::Duration;

use crate::{Limit, Rate};

/// Window and maximum of the lockouts that are counted.
const LOCKOUTS: Rate = Rate::new(64, Duration::from_hours(24));

/// Maximum number of steps.
const STEPS: usize = 6;

/// Lockout policy.
#[derive(Clone, Debug)]
pub struct LockoutSteps {
    /// Name, such as for metrics.
    pub name: &'static str,
    /// Failures before a wait.
    pub failures: Limit,
    /// The waits, each a limit of one whose window is its length, in ascending order.
    pub waits: Vec<Limit>,
    /// Counts the lockouts: the number within its window selects the wait.
    pub lockouts: Limit,
}

impl LockoutSteps {
    /// The waits: the window of the failures first, then twice as long each time, up to `longest`.
    #[must_use]
    pub fn doubling(
        name: &'static str,
        failures: Limit,
        lockouts: &'static str,
        waits: [&'static str; STEPS],
        longest: Duration,
    ) -> Self {
        let first = failures.window();
        let step = |doublings: u32| first.saturating_mul(1 << doublings).min(longest.max(first));
        let steps = (0..).map(step).zip(waits);
        let waits = steps.scan(Duration::ZERO, |before, (wait, name)| {
            let grows = wait > *before;
            *before = wait;
            grows.then(|| Limit::new(name, Rate::new(1, wait)))
        });
        Self {
            name,
            failures,
            waits: waits.collect(),
            lockouts: Limit::new(lockouts, LOCKOUTS),
        }
    }
}

/// Lockout policy by its name, the limit of failures and the longest wait. The names of its limits, which are
/// keys in Redis, are derived from its own.
#[macro_export]
macro_rules! lockout_steps {
    ($name:literal, $failures:expr, $longest:expr $(,)?) => {
        $crate::LockoutSteps::doubling(
            $name,
            $failures,
            concat!("strikes-", $name),
            [
                concat!("wait-1-", $name),
                concat!("wait-2-", $name),
                concat!("wait-3-", $name),
                concat!("wait-4-", $name),
                concat!("wait-5-", $name),
                concat!("wait-6-", $name),
            ],
            $longest,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(window: u64, longest: u64) -> Vec<u64> {
        let failures = Limit::new("failures", Rate::new(5, Duration::from_secs(window)));
        let steps = lockout_steps!("test", failures, Duration::from_secs(longest));
        let waits = steps.waits.iter().map(|wait| wait.window().as_secs());
        waits.collect()
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        assert_eq!(waits(900, 3_600), [900, 1_800, 3_600]);
        assert_eq!(waits(900, 3_000), [900, 1_800, 3_000]);
        assert_eq!(waits(900, 900), [900]);
        assert_eq!(waits(900, 60), [900], "never shorter than the window");
        assert_eq!(waits(1, 86_400), [1, 2, 4, 8, 16, 32]);
    }
}
