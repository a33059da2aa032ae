//! Cache of verified tokens: a hit costs a twentieth of a verification, and a client sends each of its
//! tokens for minutes.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use hashlink::LruCache;

const CAPACITY: usize = 20_000;

/// Parts with a lock each, so that threads seldom contend.
const SHARDS: usize = 16;

/// SHA-256 of type and token, so that no token can be read from memory.
pub(super) type Fingerprint = [u8; 32];

type Claims = Arc<dyn Any + Send + Sync>;

/// LRU cache of claims by fingerprint.
pub(super) struct VerifiedTokens([Mutex<LruCache<Fingerprint, Claims>>; SHARDS]);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            Mutex::new(LruCache::new(CAPACITY / SHARDS))
        }))
    }
}

impl VerifiedTokens {
    pub(super) fn get<C: Send + Sync + 'static>(&self, token: &Fingerprint) -> Option<Arc<C>> {
        self.shard(token).get(token).cloned()?.downcast().ok()
    }

    pub(super) fn insert(&self, token: Fingerprint, claims: Claims) {
        self.shard(&token).insert(token, claims);
    }

    fn shard(
        &self,
        token: &Fingerprint,
    ) -> std::sync::MutexGuard<'_, LruCache<Fingerprint, Claims>> {
        self.0[usize::from(token[0]) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn fingerprint(typ: &str, token: &str) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    for part in [typ, "\0", token] {
        context.update(part.as_bytes());
    }
    let hash = context.finish();
    hash.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_use_stays_cached_and_the_number_is_bounded() {
        let cache = VerifiedTokens::default();
        let token = |n: usize| fingerprint("at+jwt", &n.to_string());
        cache.insert(token(0), Arc::new(0));
        for n in 1..30_000 {
            cache.insert(token(n), Arc::new(n));
            assert_eq!(cache.get(&token(0)).as_deref(), Some(&0));
        }
        assert_eq!(cache.get::<usize>(&token(30_000)), None);
        let left = (1..30_000).filter(|n| cache.get::<usize>(&token(*n)).is_some());
        assert!(left.count() < CAPACITY);
    }
}
