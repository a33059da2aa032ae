//! What a group of routes requires. `app.rs` states it where it mounts the group; the middleware, the
//! OpenAPI document and the tests derive from it.

mod document;

use axum::http::Method;
use rate_limit::Limit;

use crate::config::LimitsConfig;
use crate::roles::{Permission, ReadWrite};

/// A part of the product that the scopes of an API key name. A new one also extends the check
/// `api_keys_scopes_check`, in a migration of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    Users,
    Usage,
    Events,
    Billing,
    Payments,
    Secrets,
    Files,
    Dashboard,
}

impl Area {
    pub const ALL: &[Self] = &[
        Self::Users,
        Self::Usage,
        Self::Events,
        Self::Billing,
        Self::Payments,
        Self::Secrets,
        Self::Files,
        Self::Dashboard,
    ];

    /// Names of the scopes to read and to write.
    #[must_use]
    pub const fn scope_names(self) -> [&'static str; 2] {
        match self {
            Self::Users => ["users:read", "users:write"],
            Self::Usage => ["usage:read", "usage:write"],
            Self::Events => ["events:read", "events:write"],
            Self::Billing => ["billing:read", "billing:write"],
            Self::Payments => ["payments:read", "payments:write"],
            Self::Secrets => ["secrets:read", "secrets:write"],
            Self::Files => ["files:read", "files:write"],
            Self::Dashboard => ["dashboard:read", "dashboard:write"],
        }
    }

    /// Permissions of the same names. The profile of a user is nobody else's, so that it has none.
    #[must_use]
    pub const fn permissions(self) -> Option<ReadWrite> {
        use Permission as P;
        let (read, write) = match self {
            Self::Users => return None,
            Self::Usage => (P::UsageRead, P::UsageWrite),
            Self::Events => (P::EventsRead, P::EventsWrite),
            Self::Billing => (P::BillingRead, P::BillingWrite),
            Self::Payments => (P::PaymentsRead, P::PaymentsWrite),
            Self::Secrets => (P::SecretsRead, P::SecretsWrite),
            Self::Files => (P::FilesRead, P::FilesWrite),
            Self::Dashboard => (P::DashboardRead, P::DashboardWrite),
        };
        Some(ReadWrite { read, write })
    }

    /// Name of the scope that a call with this method requires.
    #[must_use]
    pub fn scope_name(self, method: &Method) -> &'static str {
        let [read, write] = self.scope_names();
        if is_read(method) { read } else { write }
    }
}

/// Returns whether a method requires the scope to read, not the one to write.
#[must_use]
pub fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Who may call a group of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a rate limit and while the database does not respond: probes and pages.
    Unlimited,
    /// Anybody, within the rate limits of their client.
    Public,
    /// Users who are signed in, and API keys where the group has an area.
    SignedIn,
    /// Signed-in users with the role `admin`.
    Admin,
}

/// Whether POST requests of a group have an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    Optional,
    Required,
}

/// Selects one of the configured rate limits.
pub type ClientLimit = fn(&LimitsConfig) -> Limit;

#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a rule of its own, and any may be combined"
)]
pub struct Policy {
    pub access: Access,
    pub client_limits: Vec<ClientLimit>,
    /// API keys are rejected without one.
    pub area: Option<Area>,
    pub is_exempt_from_quota: bool,
    pub is_exempt_from_second_factor: bool,
    pub is_exempt_from_acceptance: bool,
    /// Permissions that the routes require in the account acted for.
    pub permission: Option<ReadWrite>,
    /// True if `{id}` in the paths is the account acted for.
    pub names_account: bool,
    /// `None` where keys are ignored.
    pub idempotency_keys: Option<KeyUse>,
    /// True if the routes, which only read, tolerate the lag of a read replica.
    pub reads_replica: bool,
}

#[must_use]
pub fn unlimited() -> Policy {
    Policy {
        access: Access::Unlimited,
        client_limits: Vec::new(),
        area: None,
        is_exempt_from_quota: true,
        is_exempt_from_second_factor: true,
        is_exempt_from_acceptance: true,
        permission: None,
        names_account: false,
        idempotency_keys: None,
        reads_replica: false,
    }
}

#[must_use]
pub fn public() -> Policy {
    Policy {
        access: Access::Public,
        ..unlimited()
    }
}

/// Signed-in users alone, within the rate limit and the quota of their plan, who have accepted the documents that
/// they were asked for at sign-in, and with a second factor where `MFA_REQUIRED` asks for one.
#[must_use]
pub fn signed_in() -> Policy {
    Policy {
        access: Access::SignedIn,
        is_exempt_from_quota: false,
        is_exempt_from_second_factor: false,
        is_exempt_from_acceptance: false,
        ..unlimited()
    }
}

/// As [`signed_in`], with the role `admin`. Administrators need no quota.
#[must_use]
pub fn admin() -> Policy {
    Policy {
        access: Access::Admin,
        is_exempt_from_quota: true,
        ..signed_in()
    }
}

impl Policy {
    /// Adds a rate limit of each client; all limits of a group count together.
    #[must_use]
    pub fn limit(mut self, limit: ClientLimit) -> Self {
        self.client_limits.push(limit);
        self
    }

    /// Admits API keys with a scope in this area, and users with the permissions of the same names.
    #[must_use]
    pub fn scope(mut self, area: Area) -> Self {
        self.area = Some(area);
        self.permission = area.permissions();
        self
    }

    /// Requires a permission in the account acted for: one to read, and one for all other methods.
    #[must_use]
    pub fn permission(mut self, read: Permission, write: Permission) -> Self {
        self.permission = Some(ReadWrite { read, write });
        self
    }

    /// Acts for the account that `{id}` in the path names, by its id or slug.
    #[must_use]
    pub fn account_in_path(mut self) -> Self {
        self.names_account = true;
        self
    }

    /// Accepts an `Idempotency-Key` on every POST. Their handlers end by `Tx::commit_created` or `Tx::commit_ok`, and their
    /// bodies have the default limit: the middleware reads them before the route's own `body_limit`.
    #[must_use]
    pub fn idempotency_keys(mut self, key_use: KeyUse) -> Self {
        self.idempotency_keys = Some(key_use);
        self
    }

    /// Allows `Ctx::lagging_reads` to read from the standby of `DATABASE_READ_URL` in these routes, all of which are GET and show what
    /// their caller does not expect to see at once: `docs/scale/reads.md` gives the reason for each.
    #[must_use]
    pub fn reads_replica(mut self) -> Self {
        self.reads_replica = true;
        self
    }

    /// Keeps the routes open when the account's monthly quota is used up. Requests are metered all the same.
    #[must_use]
    pub fn exempt_from_quota(mut self) -> Self {
        self.is_exempt_from_quota = true;
        self
    }

    /// Keeps the routes open for users who have yet to enable the second factor that is required of them.
    #[must_use]
    pub fn exempt_from_second_factor(mut self) -> Self {
        self.is_exempt_from_second_factor = true;
        self
    }

    /// Keeps the routes open for users who have documents to accept: to read them, to sign out, to secure the account or to
    /// leave.
    #[must_use]
    pub fn exempt_from_acceptance(mut self) -> Self {
        self.is_exempt_from_acceptance = true;
        self
    }

    fn needs_sign_in(&self) -> bool {
        matches!(self.access, Access::SignedIn | Access::Admin)
    }
}
