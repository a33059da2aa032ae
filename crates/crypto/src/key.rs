//! 256-bit keys.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretBox};

/// A 256-bit key, redacted in `Debug` and wiped on drop. Text form: base64url, 43 characters.
#[derive(Clone)]
pub struct Key32(Arc<SecretBox<[u8; 32]>>);

impl Key32 {
    /// Creates a key from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(bytes))))
    }

    /// Key bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    /// Text form.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.expose())
    }

    /// Heuristic for keys that were drawn rather than typed: 16 distinct bytes or more.
    #[must_use]
    pub fn is_random(&self) -> bool {
        HashSet::from(*self.expose()).len() >= 16
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32([redacted])")
    }
}

/// Message of a production rule by [`Key32::is_random`].
pub const WEAK_KEY: &str = "must look random: `keys generate` makes a good one";

impl settings::Setting for Key32 {
    type Value = Self;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|error| format!("{error}: `keys generate` makes them"))
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
