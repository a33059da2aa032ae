//! Key rings, read without other settings for the `keys` command.

use std::collections::HashMap;
use std::time::Duration;

use crypto::{KeyRing, KeyUsage};

use super::auth::AuthSettings;
use super::mfa::EncryptionSettings;
use super::{Faults, read_section};

/// `max-age` of `/.well-known/jwks.json`.
const JWKS_MAX_AGE: Duration = Duration::from_mins(5);

/// Access tokens are valid for `ACCESS_TOKEN_TTL` and the tolerated clock difference.
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub fn read_signing_ring(variables: &HashMap<String, String>) -> Result<KeyRing, Faults> {
    read_section(variables, |reader| {
        let keys = AuthSettings::signing_keys(reader);
        let access_ttl = AuthSettings::access_ttl(reader);
        let leeway = AuthSettings::leeway(reader);
        Some(KeyRing {
            variable: AuthSettings::JWT_SIGNING_KEYS.name,
            usage: KeyUsage::Signing {
                jwks_max_age: JWKS_MAX_AGE,
            },
            keys: keys?,
            outlived_by: Some(access_ttl?.saturating_add(leeway?.saturating_mul(2))),
            in_use: None,
            command: "keys rotate",
        })
    })
}

/// Refresh tokens depend on it for their grace only, and counts of failed sign-ins for a day. The longest dependency is
/// that of links that unsubscribe, which must work for 30 days after their email (CAN-SPAM Act).
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub fn read_token_ring(variables: &HashMap<String, String>) -> Result<KeyRing, Faults> {
    read_section(variables, |reader| {
        Some(KeyRing {
            variable: AuthSettings::TOKEN_SECRET.name,
            usage: KeyUsage::Mac,
            keys: AuthSettings::token_secrets(reader)?,
            outlived_by: Some(Duration::from_hours(24 * 30)),
            in_use: None,
            command: "keys rotate --ring token",
        })
    })
}

/// Encrypted data needs its key for as long as it is stored.
#[expect(clippy::implicit_hasher, reason = "the environment is one map")]
pub fn read_encryption_ring(variables: &HashMap<String, String>) -> Result<KeyRing, Faults> {
    read_section(variables, |reader| {
        Some(KeyRing {
            variable: EncryptionSettings::ENCRYPTION_KEYS.name,
            usage: KeyUsage::Encryption,
            keys: EncryptionSettings::keys(reader)?,
            outlived_by: None,
            in_use: None,
            command: "keys rotate --ring encryption",
        })
    })
}
