//! Failed sign-ins: how many, and the wait after them.

use std::time::Duration;

use settings::DurationOrZero;

use super::LimitsConfig;
use rate_limit::{Limit, LockoutSteps, Rate};

const HOUR: Duration = Duration::from_hours(1);

/// Window and maximum of the lockouts that are counted.
const LOCKOUTS: Rate = Rate::new(64, Duration::from_hours(24));

/// Maximum number of steps.
const STEPS: usize = 6;

settings::settings! {
    "Failed sign-ins", AttemptSettings {
        /// Longest wait after wrong passwords; the first one is the window of `LIMIT_FAILURES_ACCOUNT`
        /// or `LIMIT_FAILURES_CLIENT`, and each within a day is twice the one before.
        SIGN_IN_MAX_WAIT => longest_wait: Duration = "1h", at_most("30d");
        /// For so long after a sign-in, the failures of other clients do not lock its client out of the
        /// account.
        KNOWN_CLIENT_TTL => known_for: DurationOrZero = "30d";
        /// How long the link works that lets the owner of a locked account try again, and the least
        /// time between two such emails.
        UNLOCK_TTL => unlock_ttl: Duration = "1h", production_at_most("1d");
    }
}

/// Limits and waits of failed sign-ins.
#[derive(Clone, Debug)]
pub struct AttemptsConfig {
    /// By client, whatever the account: `LIMIT_FAILURES_CLIENT`.
    pub client: LockoutSteps,
    /// By account, from any client: `LIMIT_FAILURES_ACCOUNT`.
    pub account: LockoutSteps,
    /// By account and a client that has signed in to it before, which failures of other clients do
    /// not lock out; as many as by account.
    pub known: LockoutSteps,
    /// By account, for the password that is asked for again of somebody signed in: as many.
    pub reauthentication: LockoutSteps,
    /// Used up by a client that has followed the link in an email: it counts as known meanwhile.
    pub unlocked: Limit,
    /// `KNOWN_CLIENT_TTL`: for how long after a sign-in its client is known to the account.
    pub known_for: Duration,
    /// `UNLOCK_TTL`: how long the link works that lets the owner of a locked account try again, and
    /// the least time between two such emails.
    pub unlock_ttl: Duration,
}

/// The limits' names are keys in Redis.
macro_rules! steps {
    ($name:literal, $failures:expr, $longest:expr) => {
        lockout_steps(
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

/// The waits: the window of the failures first, then twice as long each time, up to `longest`.
fn lockout_steps(
    name: &'static str,
    failures: Limit,
    lockouts: &'static str,
    waits: [&'static str; STEPS],
    longest: Duration,
) -> LockoutSteps {
    let first = failures.window();
    let step = |doublings: u32| first.saturating_mul(1 << doublings).min(longest.max(first));
    let steps = (0..).map(step).zip(waits);
    let waits = steps.scan(Duration::ZERO, |before, (wait, name)| {
        let grows = wait > *before;
        *before = wait;
        grows.then(|| Limit::new(name, Rate::new(1, wait)))
    });
    LockoutSteps {
        name,
        failures,
        waits: waits.collect(),
        lockouts: Limit::new(lockouts, LOCKOUTS),
    }
}
impl AttemptSettings {
    pub(super) fn into_config(self, limits: &LimitsConfig) -> Option<AttemptsConfig> {
        let longest = self.longest_wait?;
        let by_account = limits.failures_account;
        let named = |name| Limit::new(name, Rate::new(by_account.max(), by_account.window()));
        Some(AttemptsConfig {
            client: steps!("client", limits.failures_client, longest),
            account: steps!("account", by_account, longest),
            known: steps!("known", named("failures-known"), longest),
            reauthentication: steps!(
                "reauthentication",
                named("failures-reauthentication"),
                longest
            ),
            unlocked: Limit::new("unlocked", Rate::new(1, HOUR)),
            known_for: self.known_for?,
            unlock_ttl: self.unlock_ttl?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(window: u64, longest: u64) -> Vec<u64> {
        let failures = Limit::new("failures", Rate::new(5, Duration::from_secs(window)));
        let steps = steps!("test", failures, Duration::from_secs(longest));
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
