//! The settings of second factors, and the keys that values are sealed under.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Flag, secs};
use super::{AuthConfig, Key32};

/// Second factors.
#[derive(Clone, Debug)]
pub struct MfaConfig {
    /// `MFA_CHALLENGE_TTL`: how long a sign-in waits for its second factor.
    pub challenge_ttl: Duration,
    /// `MFA_FAILURES_PER_HOUR`: wrong codes of an account in an hour, after which none is tried.
    pub failures_per_hour: u32,
    /// `ADMIN_MFA_REQUIRED`: whether administrators must have a second factor to act as such.
    pub admin_required: bool,
}

impl Reader<'_> {
    pub(super) fn mfa(&mut self) -> Option<MfaConfig> {
        let challenge_ttl = self.duration("MFA_CHALLENGE_TTL", secs(5 * 60));
        let failures_per_hour = self.within("MFA_FAILURES_PER_HOUR", 10, 5..=100);
        let admin_required = self.or("ADMIN_MFA_REQUIRED", Flag(self.production));
        Some(MfaConfig {
            challenge_ttl: challenge_ttl?,
            failures_per_hour: failures_per_hour?,
            admin_required: admin_required?.0,
        })
    }

    /// The ring of keys that values are sealed under.
    pub(super) fn encryption_keys(&mut self, auth: Option<&AuthConfig>) -> Option<Vec<Key32>> {
        const NAME: &str = "ENCRYPTION_KEYS";
        let keys = self.list::<Key32>(NAME)?;
        if keys.is_empty() {
            self.fault(NAME, "is required: `keys generate` makes one");
        }
        let weak = keys.iter().any(Key32::is_weak);
        self.refuse_if(weak, NAME, "is weak: `keys generate` makes a good one");
        let of_auth: Vec<&Key32> = auth
            .iter()
            .flat_map(|auth| auth.signing_keys.iter().chain([&auth.token_secret]))
            .collect();
        let shared = |key: &Key32| of_auth.iter().any(|other| other.expose() == key.expose());
        self.refuse_if(
            keys.iter().any(shared),
            NAME,
            "must not share a key with JWT_SIGNING_KEYS or TOKEN_SECRET",
        );
        Some(keys)
    }
}
