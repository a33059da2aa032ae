//! Rate limits by client, account and address.

use std::time::Duration;

use http_toolkit::ExemptNetworks;
use rate_limit::{Limit, Rate};
use settings::{List, Network};

settings::settings! {
    "Limits": "A limit is a count and a window, `100/1m`: so many in any window of so long, 1 to 1000000 in whole seconds up to a
day. [limits.md](limits.md) says what each counts. Those of signed-in callers are `PLAN_FREE_RATE`, `PLAN_PRO_RATE` and
`PLAN_ENTERPRISE_RATE`.", LimitSettings {
        /// Everything that one client may request of one process: as many at once, and restored over
        /// the window. It must let through what each of the others does.
        LIMIT_GUARD => guard: Rate = "12000/1m";
        /// Public routes and refused credentials, by client.
        LIMIT_ANONYMOUS => anonymous: Rate = "100/1m";
        /// Sign-in, sign-up and the links in emails, by client.
        LIMIT_AUTH => auth: Rate = "10/1m";
        /// Refresh and end of sessions, by client.
        LIMIT_SESSION => session: Rate = "300/1m";
        /// Sign-up, by client.
        LIMIT_REGISTER => register: Rate = "3/1h";
        /// Emails to set a new password, by client and by address.
        LIMIT_RESET => reset: Rate = "3/1h";
        /// Verification emails requested again, by address.
        LIMIT_RESEND => resend: Rate = "3/1h";
        /// Emails that anybody can cause by naming an address, by mailbox.
        LIMIT_EMAIL => email: Rate = "5/1h";
        /// Emails about changes of an account, by kind and by address.
        LIMIT_NOTICE => notice: Rate = "20/1h";
        /// Passwords given for reauthentication, right or wrong, by user.
        LIMIT_REAUTHENTICATION => reauthentication: Rate = "20/1h";
        /// Requested changes of address, by user.
        LIMIT_EMAIL_CHANGE => email_change: Rate = "5/1h";
        /// Emails with invitations, by organisation.
        LIMIT_INVITATIONS => invitations: Rate = "20/1h";
        /// Uploads of files begun, and pictures of users, by user.
        LIMIT_UPLOAD => upload: Rate = "5/1m";
        /// Wrong passwords, by client.
        LIMIT_FAILURES_CLIENT => failures_client: Rate = "5/15m";
        /// Wrong passwords, by account.
        LIMIT_FAILURES_ACCOUNT => failures_account: Rate = "5/15m";
        /// Networks, 64 at most, of offices that many people sign in from behind one address: exempt
        /// from `LIMIT_AUTH` and `LIMIT_FAILURES_CLIENT`, not from `LIMIT_FAILURES_ACCOUNT`. A network
        /// wider than /24 (IPv6: /48) is logged as a warning.
        SIGN_IN_LIMIT_EXEMPT => exempt: List<Network, 64>,
            check(|network| network.prefix_len() > 0, "must not be every address there is"),
            production(
                |network| !Network::is_wide_and_public(network),
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
    pub invitations: Limit,
    pub upload: Limit,
    pub failures_client: Limit,
    pub failures_account: Limit,
    pub exempt: ExemptNetworks,
}

impl LimitSettings {
    pub(super) fn into_config(self, reset_link: Duration) -> Option<LimitsConfig> {
        Some(LimitsConfig {
            guard: self.guard?,
            anonymous: Limit::new("anonymous", self.anonymous?).deferred(),
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
            invitations: Limit::new("invitations", self.invitations?),
            upload: Limit::new("upload", self.upload?),
            failures_client: Limit::new("failures-client", self.failures_client?),
            failures_account: Limit::new("failures-account", self.failures_account?),
            exempt: self.exempt?.into(),
        })
    }
}
