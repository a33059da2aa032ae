//! Signing keys of access tokens, with a cache of verified tokens.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use crypto::{BadKey, InvalidToken, JwtKeys, Key32};
use serde::de::DeserializeOwned;

use super::remembered::Remembered;

/// A cache hit costs a twentieth of a verification, and a client sends each of its tokens for minutes.
const CACHED: usize = 20_000;

/// [`JwtKeys`] whose `verify` caches.
#[derive(Debug)]
pub struct TokenKeys {
    keys: JwtKeys,
    /// By the SHA-256 of type and token: no token can be stolen from memory.
    verified: Remembered<[u8; 32], Arc<dyn Any + Send + Sync>>,
}

impl TokenKeys {
    /// See [`JwtKeys::new`].
    pub fn new(seeds: &[Key32], issuer: &str, audience: &str) -> Result<Self, BadKey> {
        Ok(Self {
            keys: JwtKeys::new(seeds, issuer, audience)?,
            verified: Remembered::new(CACHED),
        })
    }

    /// See [`JwtKeys::verify`].
    pub fn verify<C>(&self, typ: &str, token: &str) -> Result<Arc<C>, InvalidToken>
    where
        C: DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let fingerprint = fingerprint(typ, token);
        let cached = self.verified.recall(&fingerprint);
        if let Some(Ok(claims)) = cached.map(Arc::downcast) {
            return Ok(claims);
        }
        let claims = Arc::new(self.keys.verify::<C>(typ, token)?);
        self.verified.remember(fingerprint, claims.clone());
        Ok(claims)
    }
}

impl Deref for TokenKeys {
    type Target = JwtKeys;

    fn deref(&self) -> &JwtKeys {
        &self.keys
    }
}

fn fingerprint(typ: &str, token: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [typ, "\0", token] {
        context.update(part.as_bytes());
    }
    let hash = context.finish();
    hash.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_cached_token_is_verified_by_its_type_and_signature_as_at_first() {
        let [own, foreign] = [1, 2].map(|byte| {
            let keys = TokenKeys::new(&[Key32::new([byte; 32])], "us", "them");
            keys.expect("the key works")
        });
        let claims = json!({ "iss": "us", "aud": "them", "sub": "x", "exp": 0, "nbf": 0 });
        let sign = |keys: &TokenKeys| keys.sign("at+jwt", &claims).expect("it is signed");
        let (token, forged) = (sign(&own), sign(&foreign));
        let verify = |typ, token: &str| own.verify::<Value>(typ, token);
        let [first, again] = [(); 2].map(|()| verify("at+jwt", &token).expect("it is valid"));
        assert!(Arc::ptr_eq(&first, &again), "it is cached");
        for _ in 0..2 {
            assert!(verify("other", &token).is_err());
            assert!(verify("at+jwt", &forged).is_err());
        }
    }
}
