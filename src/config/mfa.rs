//! Second factors and encryption at rest.

use std::time::Duration;

use crypto::{Key32, WEAK_KEY};
use settings::{List, Setting};

settings::settings! {
    /// Second factors.
    pub struct MfaConfig {}
    "Second factors", MfaSettings {
        /// How long a sign-in waits for its code.
        MFA_CHALLENGE_TTL => challenge_ttl: Duration = "5m", at_most("1h");
        /// Wrong codes of an account in an hour, after which none is tried; recovery codes still are.
        MFA_FAILURES_PER_HOUR => failures_per_hour: u32 = 10, within(5..=100);
        /// Who must have a second factor: `none`; `admins`, to act as such; or `all`: a user without
        /// one can sign in, and then see their profile, turn one on or sign out. Everything else gets
        /// 403 `mfa_required`. API keys work on, but nobody without a second factor makes or rotates
        /// one.
        MFA_REQUIRED => required: MfaRequired = "admins", in_development("none");
    }
}

settings::settings! {
    "Encryption at rest", EncryptionSettings {
        /// List of 32 random bytes in base64url, for what is encrypted in the database, such as second
        /// factors; the first encrypts, all decrypt. What was encrypted under a key that is gone is
        /// lost: keep a copy apart from the database's backups.
        ENCRYPTION_KEYS => keys: List<Key32>, required("`keys generate` makes one"), secret,
            production(Key32::is_random, WEAK_KEY);
    }
}

/// Who must have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfaRequired {
    None,
    Admins,
    All,
}

impl Setting for MfaRequired {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "admins" => Ok(Self::Admins),
            "all" => Ok(Self::All),
            _ => Err("must be none, admins or all".to_owned()),
        }
    }
}
