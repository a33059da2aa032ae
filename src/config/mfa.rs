//! The settings of second factors, and the keys that values are sealed under.

use std::time::Duration;

use super::reader::Reader;
use super::setting::{Setting, secs};
use super::{AuthConfig, Key32};

/// Second factors.
#[derive(Clone, Debug)]
pub struct MfaConfig {
    /// `MFA_CHALLENGE_TTL`: how long a sign-in waits for its second factor.
    pub challenge_ttl: Duration,
    /// `MFA_FAILURES_PER_HOUR`: wrong codes of an account in an hour, after which none is tried.
    pub failures_per_hour: u32,
    /// `MFA_REQUIRED`: who must have a second factor: `none`, `admins` or `all`.
    pub required: MfaRequired,
}

/// Who must have a second factor to do anything but turn one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfaRequired {
    /// Nobody.
    None,
    /// Administrators, to act as such.
    Admins,
    /// Everybody who signs in.
    All,
}

impl Setting for MfaRequired {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "admins" => Ok(Self::Admins),
            "all" => Ok(Self::All),
            _ => Err("must be none, admins or all".to_owned()),
        }
    }
}

impl Reader<'_> {
    pub(super) fn mfa(&mut self) -> Option<MfaConfig> {
        let challenge_ttl = self.duration_up_to("MFA_CHALLENGE_TTL", secs(5 * 60), secs(60 * 60));
        let failures_per_hour = self.within("MFA_FAILURES_PER_HOUR", 10, 5..=100);
        let unless_said = if self.production {
            MfaRequired::Admins
        } else {
            MfaRequired::None
        };
        let required = self.or("MFA_REQUIRED", unless_said);
        Some(MfaConfig {
            challenge_ttl: challenge_ttl?,
            failures_per_hour: failures_per_hour?,
            required: required?,
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
            .flat_map(|auth| auth.signing_keys.iter().chain(&auth.token_secrets))
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
