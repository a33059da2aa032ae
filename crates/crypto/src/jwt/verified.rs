//! What was worked out a moment ago, kept in the process so that it need not be worked out again.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::{Mutex, PoisonError};

/// Parts with a lock each, so that threads seldom meet.
const SHARDS: usize = 16;

/// A bounded memory of values by key. It never says anything that was not put in, and forgets what
/// has not been asked for lately once there is much else.
#[derive(Debug)]
pub(crate) struct Remembered<K, V> {
    shards: [Mutex<Shard<K, V>>; SHARDS],
    capacity: usize,
    hasher: RandomState,
}

/// Two generations: when the young one is full it becomes the old one, which is forgotten.
#[derive(Debug)]
struct Shard<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    /// A memory of at most about `capacity` values.
    #[must_use]
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    young: HashMap::new(),
                    old: HashMap::new(),
                })
            }),
            capacity: (capacity / SHARDS / 2).max(1),
            hasher: RandomState::new(),
        }
    }

    /// The value of `key`, if it is remembered.
    pub(crate) fn recall(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key);
        if let Some(value) = shard.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = shard.old.remove_entry(key)?;
        self.put(&mut shard, key, value.clone());
        Some(value)
    }

    /// Remembers a value.
    pub(crate) fn remember(&self, key: K, value: V) {
        let mut shard = self.shard(&key);
        self.put(&mut shard, key, value);
    }

    fn put(&self, shard: &mut Shard<K, V>, key: K, value: V) {
        if shard.young.len() >= self.capacity {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(key, value);
    }

    fn shard(&self, key: &K) -> std::sync::MutexGuard<'_, Shard<K, V>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 48).unwrap_or_default();
        self.shards[hash % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let memory = Remembered::new(320);
        memory.remember(0, "kept".to_owned());
        for n in 1..10_000 {
            memory.remember(n, n.to_string());
            assert_eq!(memory.recall(&0).as_deref(), Some("kept"));
        }
        assert_eq!(memory.recall(&10_000), None);
        let left = (1..10_000).filter(|n| memory.recall(n).is_some()).count();
        assert!(left <= 320, "{left}");
    }
}
