//! Rate limits by client, account and address.

use std::time::Duration;

use rate_limit::{Limit, Rate};
use settings::{OrDefault, Setting};

use super::exempt::{ExemptNetworks, is_no_public_range};

const DAY: Duration = Duration::from_hours(24);

/// A [`Rate`] written `100/1m`.
pub(super) struct RateSetting;

impl Setting for RateSetting {
    type Value = Rate;

    fn parse(text: &str) -> Result<Rate, String> {
        let wrong = || {
            "must be a count and a window such as 100/1m: 1 to 1000000 in 1s to 1d, whole seconds"
                .to_owned()
        };
        let (max, window) = text.split_once('/').ok_or_else(wrong)?;
        let max = max.trim().parse().map_err(|_| wrong())?;
        let window = Duration::parse(window.trim()).map_err(|_| wrong())?;
        let fits = (1..=1_000_000).contains(&max)
            && (Duration::from_secs(1)..=DAY).contains(&window)
            && window.subsec_nanos() == 0;
        fits.then(|| Rate::new(max, window)).ok_or_else(wrong)
    }
}

settings::settings! {
    "Limits": "A limit is a count and a window, `100/1m`: so many in any window of so long, 1 to 1000000 in whole seconds up to a
day. [limits.md](limits.md) says what each counts. Those of signed-in callers are `PLAN_FREE_RATE`, `PLAN_PRO_RATE` and
`PLAN_ENTERPRISE_RATE`.", LimitSettings {
        /// Everything that one client may request of one process: as many at once, and restored over
        /// the window. It must let through what each of the others does.
        LIMIT_GUARD => guard: RateSetting = "12000/1m";
        /// Public routes and refused credentials, by client.
        LIMIT_ANONYMOUS => anonymous: RateSetting = "100/1m";
        /// Sign-in, sign-up and the links in emails, by client.
        LIMIT_AUTH => auth: RateSetting = "10/1m";
        /// Refresh and end of sessions, by client.
        LIMIT_SESSION => session: RateSetting = "300/1m";
        /// Sign-up, by client.
        LIMIT_REGISTER => register: RateSetting = "3/1h";
        /// Emails to set a new password, by client and by address.
        LIMIT_RESET => reset: RateSetting = "3/1h";
        /// Verification emails requested again, by address.
        LIMIT_RESEND => resend: RateSetting = "3/1h";
        /// Emails that anybody can cause by naming an address, by mailbox.
        LIMIT_EMAIL => email: RateSetting = "5/1h";
        /// Emails about changes of an account, by kind and by address.
        LIMIT_NOTICE => notice: RateSetting = "20/1h";
        /// Passwords given for reauthentication, right or wrong, by user.
        LIMIT_REAUTHENTICATION => reauthentication: RateSetting = "20/1h";
        /// Requested changes of address, by user.
        LIMIT_EMAIL_CHANGE => email_change: RateSetting = "5/1h";
        /// Wrong passwords, by client.
        LIMIT_FAILURES_CLIENT => failures_client: RateSetting = "5/15m";
        /// Wrong passwords, by account.
        LIMIT_FAILURES_ACCOUNT => failures_account: RateSetting = "5/15m";
        /// Networks, 64 at most, of offices that many people sign in from behind one address: exempt
        /// from `LIMIT_AUTH` and `LIMIT_FAILURES_CLIENT`, not from `LIMIT_FAILURES_ACCOUNT`. A network
        /// wider than /24 (IPv6: /48) is logged as a warning.
        SIGN_IN_LIMIT_EXEMPT => exempt: OrDefault<ExemptNetworks>,
            production(
                is_no_public_range,
                "must be the networks of offices: public networks wider than /11 (IPv6: /24) have \
                 strangers in them"
            );
    }
}

/// The rate limits, by name. The settings are in `LimitSettings`.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// In-process guard before all other limits.
    pub guard: Rate,
    pub anonymous: Limit,
    pub auth: Limit,
    pub session: Limit,
    pub register: Limit,
    pub reset: Limit,
    /// `LIMIT_RESET` by address, with a window no longer than the link is valid, so that a limited user has a
    /// valid link.
    pub reset_address: Limit,
    pub resend_address: Limit,
    pub email_address: Limit,
    pub notice_address: Limit,
    pub reauthentication: Limit,
    pub email_change: Limit,
    pub failures_client: Limit,
    pub failures_account: Limit,
    pub exempt: ExemptNetworks,
}

impl LimitSettings {
    pub(super) fn into_config(self, reset_link: Duration) -> Option<LimitsConfig> {
        Some(LimitsConfig {
            guard: self.guard?,
            anonymous: Limit::new("anonymous", self.anonymous?),
            auth: Limit::new("auth", self.auth?),
            session: Limit::new("session", self.session?),
            register: Limit::new("register", self.register?),
            reset: Limit::new("reset", self.reset?),
            reset_address: Limit::new("reset-address", self.reset?.within(reset_link)),
            resend_address: Limit::new("resend-address", self.resend?),
            email_address: Limit::new("email-address", self.email?),
            notice_address: Limit::new("notice-address", self.notice?),
            reauthentication: Limit::new("reauthentication", self.reauthentication?),
            email_change: Limit::new("email-change", self.email_change?),
            failures_client: Limit::new("failures-client", self.failures_client?),
            failures_account: Limit::new("failures-account", self.failures_account?),
            exempt: self.exempt?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_rate_is_a_count_and_a_window() {
        for (text, rate) in [
            ("100/1m", Rate::new(100, MINUTE)),
            (" 3 / 1h ", Rate::new(3, Duration::from_hours(1))),
            ("5/900", Rate::new(5, Duration::from_mins(15))),
            ("1000000/1d", Rate::new(1_000_000, DAY)),
        ] {
            assert_eq!(RateSetting::parse(text), Ok(rate), "{text}");
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
            assert!(RateSetting::parse(text).is_err(), "{text}");
        }
    }
}
