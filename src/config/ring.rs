//! The rings of keys that are rotated while the service runs, for the commands that do so.

use std::collections::HashMap;
use std::time::Duration;

use super::reader::Reader;
use super::setting::days;
use super::{Faults, Key32};

/// A ring of keys, read alone.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// The variable that holds it.
    pub variable: &'static str,
    /// The keys; the first one is in use, the others are only recognised.
    pub keys: Vec<Key32>,
    /// How long after a key was last used for something new what it made is still good.
    pub outlived_by: Option<Duration>,
}

impl RingConfig {
    /// The ring that signs access tokens, which are good for `ACCESS_TOKEN_TTL` and what clocks may
    /// differ by.
    pub fn read_signing(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        Reader::new(variables).read_section(|reader| {
            let keys = reader.signing_keys();
            let (access_ttl, leeway) = (reader.access_ttl(), reader.leeway());
            Some(Self {
                variable: "JWT_SIGNING_KEYS",
                keys: keys?,
                outlived_by: Some(access_ttl?.saturating_add(leeway?.saturating_mul(2))),
            })
        })
    }

    /// The ring of `TOKEN_SECRET`. Refresh tokens do not depend on it for longer than their grace; of
    /// what does, failed sign-ins are counted for longest.
    pub fn read_token(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        Reader::new(variables).read_section(|reader| {
            Some(Self {
                variable: "TOKEN_SECRET",
                keys: reader.token_secrets()?,
                outlived_by: Some(days(1)),
            })
        })
    }

    /// The ring that seals what is stored, which is good for as long as it is stored.
    pub fn read_encryption(variables: &HashMap<String, String>) -> Result<Self, Faults> {
        Reader::new(variables).read_section(|reader| {
            Some(Self {
                variable: "ENCRYPTION_KEYS",
                keys: reader.encryption_keys(None)?,
                outlived_by: None,
            })
        })
    }
}
