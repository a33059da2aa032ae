//! How much each caller may ask for, and whom the service does not serve at all.

use std::fmt;
use std::time::Duration;

use super::exempt::ExemptNetworks;
use super::reader::Reader;
use super::setting::{Setting, secs};
use super::{AuthConfig, PlansConfig};

const MINUTE: Duration = secs(60);
const HOUR: Duration = secs(60 * 60);
const DAY: Duration = secs(24 * 60 * 60);

/// So many times in any window of so long: a rule with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    name: &'static str,
    rate: Rate,
}

impl Limit {
    pub(super) const fn new(name: &'static str, rate: Rate) -> Self {
        Self { name, rate }
    }

    /// A limit that is not a setting of its own: so many a minute, at least one.
    #[must_use]
    pub const fn per_minute(name: &'static str, max: u32) -> Self {
        let max = if max == 0 { 1 } else { max };
        Self::new(name, Rate::new(max, MINUTE))
    }

    /// What it is called: in keys, in headers and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// How often at most, at least once.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.rate.max
    }

    /// Within how long: whole seconds, at least one.
    #[must_use]
    pub const fn window(self) -> Duration {
        self.rate.window
    }
}

/// A count and a window, written `100/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    max: u32,
    window: Duration,
}

impl Rate {
    /// This rate with a window of at most `longest`, in whole seconds.
    fn within(self, longest: Duration) -> Self {
        let longest = secs(longest.as_secs().max(1));
        Self::new(self.max, self.window.min(longest))
    }

    pub(super) const fn new(max: u32, window: Duration) -> Self {
        Self { max, window }
    }

    /// How often at most, at least once.
    #[must_use]
    pub const fn max(self) -> u32 {
        self.max
    }

    /// Within how long: whole seconds, at least one.
    #[must_use]
    pub const fn window(self) -> Duration {
        self.window
    }

    /// Whether it lets everything through that `other` does, at once and in the long run.
    fn covers(self, other: Self) -> bool {
        self.max >= other.max && self.per_second() >= other.per_second()
    }

    fn per_second(self) -> f64 {
        f64::from(self.max) / self.window.as_secs_f64()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s", self.max, self.window.as_secs())
    }
}

impl Setting for Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            "must be a count and a window such as 100/1m: 1 to 1000000 in 1s to 1d, whole seconds"
                .to_owned()
        };
        let (max, window) = text.split_once('/').ok_or_else(wrong)?;
        let max = max.trim().parse().map_err(|_| wrong())?;
        let window = Duration::parse(window.trim()).map_err(|_| wrong())?;
        let fits = (1..=1_000_000).contains(&max)
            && (secs(1)..=DAY).contains(&window)
            && window.subsec_nanos() == 0;
        fits.then_some(Self { max, window }).ok_or_else(wrong)
    }
}

/// Who may ask how often.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// `LIMIT_GUARD`: what one client may ask of one process, whatever it asks; the in-process
    /// guard before everything, at least as generous as each of the others.
    pub guard: Rate,
    /// `LIMIT_ANONYMOUS`: public routes, by client.
    pub anonymous: Limit,
    /// `LIMIT_AUTH`: signing in and what leads to it, by client.
    pub auth: Limit,
    /// `LIMIT_SESSION`: going on with a session and ending it, by client.
    pub session: Limit,
    /// `LIMIT_REGISTER`: signing up, by client.
    pub register: Limit,
    /// `LIMIT_RESET`: asking for a letter to set a new password, by client.
    pub reset: Limit,
    /// `LIMIT_RESET`: the same, by the address that the email goes to. Its window is no longer than the
    /// link works: who meets the limit has a link that works.
    pub reset_address: Limit,
    /// `LIMIT_RESEND`: asking for the verification letter again, by the address it goes to.
    pub resend_address: Limit,
    /// `LIMIT_EMAIL`: emails that anybody can cause by naming an address, by mailbox.
    pub email_address: Limit,
    /// `LIMIT_NOTICE`: emails about changes of an account, by kind and by address.
    pub notice_address: Limit,
    /// `LIMIT_REAUTHENTICATION`: passwords that are asked for again, right ones too, by user.
    pub reauthentication: Limit,
    /// `LIMIT_EMAIL_CHANGE`: changes of address that are asked for, by user.
    pub email_change: Limit,
    /// `LIMIT_FAILURES_CLIENT`: failed attempts to sign in, by client.
    pub failures_client: Limit,
    /// `LIMIT_FAILURES_ACCOUNT`: failed attempts to sign in, by account.
    pub failures_account: Limit,
    /// `SIGN_IN_LIMIT_EXEMPT`: networks that `LIMIT_AUTH` and `LIMIT_FAILURES_CLIENT` do not apply to.
    pub exempt: ExemptNetworks,
}

impl Reader<'_> {
    pub(super) fn limits(
        &mut self,
        plans: Option<&PlansConfig>,
        tokens: Option<&AuthConfig>,
    ) -> Option<LimitsConfig> {
        let guard = self.or("LIMIT_GUARD", Rate::new(12_000, MINUTE));
        let anonymous = self.or("LIMIT_ANONYMOUS", Rate::new(100, MINUTE));
        let auth = self.or("LIMIT_AUTH", Rate::new(10, MINUTE));
        let session = self.or("LIMIT_SESSION", Rate::new(300, MINUTE));
        let register = self.or("LIMIT_REGISTER", Rate::new(3, HOUR));
        let reset = self.or("LIMIT_RESET", Rate::new(3, HOUR));
        let resend = self.or("LIMIT_RESEND", Rate::new(3, HOUR));
        let email = self.or("LIMIT_EMAIL", Rate::new(5, HOUR));
        let notice = self.or("LIMIT_NOTICE", Rate::new(20, HOUR));
        let reauthentication = self.or("LIMIT_REAUTHENTICATION", Rate::new(20, HOUR));
        let email_change = self.or("LIMIT_EMAIL_CHANGE", Rate::new(5, HOUR));
        let link = tokens.map_or(HOUR, |tokens| tokens.reset_password_ttl);
        let failures = Rate::new(5, secs(15 * 60));
        let failures_client = self.or("LIMIT_FAILURES_CLIENT", failures);
        let failures_account = self.or("LIMIT_FAILURES_ACCOUNT", failures);
        let exempt = self.exempt_networks();
        let config = LimitsConfig {
            guard: guard?,
            anonymous: Limit::new("anonymous", anonymous?),
            auth: Limit::new("auth", auth?),
            session: Limit::new("session", session?),
            register: Limit::new("register", register?),
            reset: Limit::new("reset", reset?),
            reset_address: Limit::new("reset-address", reset?.within(link)),
            resend_address: Limit::new("resend-address", resend?),
            email_address: Limit::new("email-address", email?),
            notice_address: Limit::new("notice-address", notice?),
            reauthentication: Limit::new("reauthentication", reauthentication?),
            email_change: Limit::new("email-change", email_change?),
            failures_client: Limit::new("failures-client", failures_client?),
            failures_account: Limit::new("failures-account", failures_account?),
            exempt: exempt?,
        };
        let tiers = plans.map(|plans| [&plans.free, &plans.pro, &plans.enterprise]);
        let tiers = tiers.into_iter().flatten();
        let tiers = tiers.map(|tier| Limit::per_minute("plan", tier.rate));
        let behind = [config.anonymous, config.auth, config.session];
        for limit in behind.into_iter().chain(tiers) {
            // Whoever stands before the others must not be the tighter one.
            if !config.guard.covers(limit.rate) {
                let message = format!(
                    "must let through what the limit `{}` does, {}, at once and in the long run",
                    limit.name, limit.rate,
                );
                self.fault("LIMIT_GUARD", message);
            }
        }
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_window() {
        for (text, rate) in [
            ("100/1m", Rate::new(100, MINUTE)),
            (" 3 / 1h ", Rate::new(3, HOUR)),
            ("5/900", Rate::new(5, secs(900))),
            ("1000000/1d", Rate::new(1_000_000, DAY)),
        ] {
            assert_eq!(Rate::parse(text), Ok(rate), "{text}");
        }
        for text in [
            "",
            "100",
            "/1m",
            "100/",
            "0/1m",
            "-1/1m",
            "1000001/1m",
            "1/0s",
            "1/500ms",
            "1/1500ms",
            "1/2d",
            "1/1m/1m",
        ] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_covers_what_is_less_at_once_and_in_the_long_run() {
        let guard = Rate::new(100, MINUTE);
        assert!(guard.covers(Rate::new(100, MINUTE)));
        assert!(guard.covers(Rate::new(5, HOUR)));
        assert!(!guard.covers(Rate::new(101, HOUR)));
        assert!(!guard.covers(Rate::new(50, secs(1))));
    }
}
