//! Failed sign-ins: how many, and the wait after them.

use std::time::Duration;

use settings::DurationOrZero;

use super::LimitsConfig;
use rate_limit::{Limit, LockoutSteps, Rate, lockout_steps};

const HOUR: Duration = Duration::from_hours(1);

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

impl AttemptSettings {
    pub(super) fn into_config(self, limits: &LimitsConfig) -> Option<AttemptsConfig> {
        let longest = self.longest_wait?;
        let by_account = limits.failures_account;
        let named = |name| Limit::new(name, Rate::new(by_account.max(), by_account.window()));
        Some(AttemptsConfig {
            client: lockout_steps!("client", limits.failures_client, longest),
            account: lockout_steps!("account", by_account, longest),
            known: lockout_steps!("known", named("failures-known"), longest),
            reauthentication: lockout_steps!(
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
