//! HMAC-SHA-256 under a key ring: the first key signs, all verify.

use std::fmt;

use aws_lc_rs::hmac;

use crate::Key32;

/// A ring of HMAC keys for one purpose.
#[derive(Clone)]
pub struct MacRing(Vec<hmac::Key>);

/// A tag of a [`MacRing`].
pub type Mac = [u8; 32];

impl MacRing {
    /// Uses the keys themselves. Messages must begin with their purpose.
    #[must_use]
    pub fn new(keys: &[Key32]) -> Self {
        let key = |key: &Key32| hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        Self(keys.iter().map(key).collect())
    }

    /// Uses keys derived for one purpose, so that a tag for one purpose is rejected for another.
    #[must_use]
    pub fn derived(keys: &[Key32], purpose: &'static str) -> Self {
        let derive = |key: &Key32| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
            let own = hmac::sign(&key, purpose.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, own.as_ref())
        };
        Self(keys.iter().map(derive).collect())
    }

    /// Returns the tag of the concatenated parts under the first key.
    ///
    /// # Panics
    /// When the ring is empty.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Mac {
        tag(&self.0[0], parts)
    }

    /// Returns the tags of the concatenated parts under each key in order.
    pub fn sign_by_each<'a>(&'a self, parts: &'a [&'a [u8]]) -> impl Iterator<Item = Mac> + 'a {
        self.0.iter().map(move |key| tag(key, parts))
    }

    /// Verifies a tag under any of the keys, in constant time.
    #[must_use]
    pub fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        let mut keys = self.0.iter();
        keys.any(|key| hmac::verify(key, message, tag).is_ok())
    }
}

impl fmt::Debug for MacRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacRing({} keys)", self.0.len())
    }
}

fn tag(key: &hmac::Key, parts: &[&[u8]]) -> Mac {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key32> {
        bytes.iter().map(|byte| Key32::new([*byte; 32])).collect()
    }

    #[test]
    fn the_first_key_signs_and_every_key_of_the_ring_verifies() {
        let [before, during, after] =
            [&[1][..], &[2, 1], &[2]].map(|ring| MacRing::new(&keys(ring)));
        let old = before.sign(&[b"mess", b"age"]);
        assert!(during.verifies(b"message", &old) && !after.verifies(b"message", &old));
        let new = during.sign(&[b"message"]);
        assert!(after.verifies(b"message", &new) && !before.verifies(b"message", &new));
        assert_eq!(
            during.sign_by_each(&[b"message"]).collect::<Vec<_>>(),
            [new, old]
        );
        for wrong in [&old[..31], &[old.as_slice(), &[0]].concat(), b""] {
            assert!(!during.verifies(b"message", wrong));
        }
    }

    #[test]
    fn a_tag_for_one_purpose_is_none_for_another() {
        let keys = keys(&[1]);
        let [one, other] = ["one", "other"].map(|purpose| MacRing::derived(&keys, purpose));
        assert!(!other.verifies(b"message", &one.sign(&[b"message"])));
        assert!(!MacRing::new(&keys).verifies(b"message", &one.sign(&[b"message"])));
    }
}
