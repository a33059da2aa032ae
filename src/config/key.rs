//! A key from the configuration.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretBox};

/// A 256-bit key from the configuration; never printed.
#[derive(Clone)]
pub struct Key32(Arc<SecretBox<[u8; 32]>>);

impl Key32 {
    /// The key made of `bytes`.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(bytes))))
    }

    /// The key's bytes, for the cipher that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// How the key is written in a variable: base64url without padding, 43 characters.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.expose())
    }

    /// Keys that a person typed rather than drew have few different bytes.
    pub(super) fn is_weak(&self) -> bool {
        let mut seen = [false; 256];
        for byte in self.expose() {
            seen[usize::from(*byte)] = true;
        }
        seen.iter().filter(|seen| **seen).count() < 16
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32([redacted])")
    }
}

impl FromStr for Key32 {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        BASE64_URL_SAFE_NO_PAD
            .decode(raw.trim_end_matches('='))
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self::new)
            .ok_or_else(|| "must be 32 random bytes in base64url".to_owned())
    }
}
