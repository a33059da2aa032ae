//! Key rings, read without other settings for the `keys` command.

use std::collections::HashMap;
use std::time::Duration;

use super::auth::AuthSettings;
use super::mfa::EncryptionSettings;
use super::{Faults, Key32, read_section};

#[derive(Clone, Debug)]
pub struct RingConfig {
    pub variable: &'static str,
    /// The first one is used, the others are accepted.
    pub keys: Vec<Key32>,
    /// How long data signed under a key stays valid after the key is no longer used.
    pub outlived_by: Option<Duration>,
}

impl RingConfig {
    /// Access tokens are valid for `ACCESS_TOKEN_TTL` and the tolerated clock difference.
    pub fn read_signing(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        read_section(variables, |reader| {
            let keys = AuthSettings::signing_keys(reader);
            let (access_ttl, leeway) = (
                AuthSettings::access_ttl(reader),
                AuthSettings::leeway(reader),
            );
            Some(Self {
                variable: AuthSettings::JWT_SIGNING_KEYS.name,
                keys: keys?,
                outlived_by: Some(access_ttl?.saturating_add(leeway?.saturating_mul(2))),
            })
        })
    }

    /// Refresh tokens depend on it for their grace only. The longest dependency is that of counts of failed
    /// sign-ins.
    pub fn read_token(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        read_section(variables, |reader| {
            Some(Self {
                variable: AuthSettings::TOKEN_SECRET.name,
                keys: AuthSettings::token_secrets(reader)?,
                outlived_by: Some(Duration::from_hours(24)),
            })
        })
    }

    /// Encrypted data needs its key for as long as it is stored.
    pub fn read_encryption(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        read_section(variables, |reader| {
            Some(Self {
                variable: EncryptionSettings::ENCRYPTION_KEYS.name,
                keys: EncryptionSettings::keys(reader)?,
                outlived_by: None,
            })
        })
    }
}
