//! The key rings that are rotated while the service runs, for the commands that do so.

use std::collections::HashMap;
use std::time::Duration;

use super::auth::AuthSettings;
use super::mfa::EncryptionSettings;
use super::{Faults, Key32, read_section};

/// A ring of keys, read alone.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// The variable that holds it.
    pub variable: &'static str,
    /// The keys; the first one is in use, the others are only recognised.
    pub keys: Vec<Key32>,
    /// How long after a key was last used for something new what it made is still valid.
    pub outlived_by: Option<Duration>,
}

impl RingConfig {
    /// Reads the ring that signs access tokens, which are valid for `ACCESS_TOKEN_TTL` and the tolerated
    /// clock difference.
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

    /// Reads the ring of `TOKEN_SECRET`. Refresh tokens do not depend on it for longer than their grace;
    /// of what does, failed sign-ins are counted for longest.
    pub fn read_token(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        read_section(variables, |reader| {
            Some(Self {
                variable: AuthSettings::TOKEN_SECRET.name,
                keys: AuthSettings::token_secrets(reader)?,
                outlived_by: Some(Duration::from_hours(24)),
            })
        })
    }

    /// Reads the ring that encrypts what is stored, which is valid for as long as it is stored.
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
