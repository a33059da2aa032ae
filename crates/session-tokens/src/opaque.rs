//! Opaque tokens: random, and stored as a hash.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clock::Rng;
use crypto::MacRing;
use serde::Deserialize;
use zeroize::Zeroizing;

/// Opaque token of 256 random bits, as 43 characters of base64url.
#[derive(Clone, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(try_from = "String")]
#[cfg_attr(
    feature = "utoipa",
    schema(value_type = String, min_length = 43, max_length = 43, example = "mF9B5f41JqM0Q8r2Zt7uYwXcVbNaSdFgHjKlPoIuYtQ")
)]
pub struct OpaqueToken(Zeroizing<[u8; 32]>);

/// SHA-256 of a token, which is stored. A slow hash would add nothing to 256 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(
    /// The 32 bytes of the hash.
    pub [u8; 32],
);

impl OpaqueToken {
    /// Draws a token.
    #[must_use]
    pub fn new(rng: &Rng) -> Self {
        Self(Zeroizing::new(rng.bytes()))
    }

    /// The hash that is stored.
    ///
    /// # Panics
    /// Never: SHA-256 has 32 bytes.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let hash = digest(&SHA256, &*self.0);
        TokenHash(hash.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// Possible successors in a chain of derived tokens, one for each key of the ring, in its order.
    #[must_use]
    pub fn successors(&self, secrets: &MacRing) -> Vec<Self> {
        let parts: [&[u8]; 2] = [b"refresh token successor", &*self.0];
        let successors = secrets.sign_by_each(&parts);
        successors.map(|tag| Self(Zeroizing::new(tag))).collect()
    }

    /// The random bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Text form.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(*self.0)
    }
}

impl TryFrom<String> for OpaqueToken {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let raw = Zeroizing::new(raw);
        let mut bytes = Zeroizing::new([0; 32]);
        let decoded = BASE64_URL_SAFE_NO_PAD.decode_slice(raw.as_bytes(), &mut *bytes);
        (decoded == Ok(32))
            .then_some(Self(bytes))
            .ok_or("must be a token issued by this service")
    }
}

impl std::fmt::Debug for OpaqueToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpaqueToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::Key32;

    #[test]
    fn a_successor_is_the_same_each_time_and_differs_by_token_and_key() {
        let [a, b] = [1, 2].map(|seed| OpaqueToken::new(&Rng::seeded(seed)));
        let ring = |bytes: &[u8]| {
            let keys: Vec<_> = bytes.iter().map(|byte| Key32::new([*byte; 32])).collect();
            MacRing::new(&keys)
        };
        let hashes = |token: &OpaqueToken, bytes: &[u8]| {
            let successors = token.successors(&ring(bytes));
            successors.iter().map(OpaqueToken::hash).collect::<Vec<_>>()
        };
        let [of_one, of_other] = [hashes(&a, &[1]), hashes(&a, &[2])];
        assert_eq!(hashes(&a, &[1]), of_one);
        assert_eq!(hashes(&a, &[2, 1]), [of_other[0], of_one[0]]);
        assert_ne!(of_one, of_other);
        assert_ne!(hashes(&b, &[1]), of_one);
        assert_ne!(of_one, [a.hash()]);
    }

    #[test]
    fn a_token_is_43_characters_there_and_back() {
        let token = OpaqueToken::new(&Rng::seeded(1));
        let text = token.encode();
        assert_eq!(text.len(), 43);
        assert_eq!(
            OpaqueToken::try_from(text.clone())
                .expect("it parses")
                .hash(),
            token.hash()
        );
        for wrong in [
            "",
            "x",
            &text[1..],
            &format!("{text}A"),
            &format!("{}!", &text[1..]),
        ] {
            assert!(OpaqueToken::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&text));
    }
}
