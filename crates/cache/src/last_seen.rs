//! Time of last use per key, in memory: recording it takes no round trip.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use hashlink::LruCache;

/// Bounded map (LRU) of the time at which each key was last seen; clones share it.
#[derive(Clone)]
pub struct LastSeen<K>(Arc<Mutex<LruCache<K, DateTime<Utc>>>>);

impl<K: Copy + Eq + Hash> LastSeen<K> {
    /// Map of at most `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(capacity))))
    }

    /// Records a use and returns the previous one; keeps the later of the two.
    pub fn record(&self, key: K, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut seen = self.seen();
        let before = seen.get(&key).copied();
        seen.insert(key, before.map_or(at, |before| before.max(at)));
        before
    }

    /// Takes all uses since the last call.
    pub fn take(&self) -> HashMap<K, DateTime<Utc>> {
        self.seen().drain().collect()
    }

    fn seen(&self) -> MutexGuard<'_, LruCache<K, DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> fmt::Debug for LastSeen<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastSeen")
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_latest_moment_stays_until_it_is_taken() {
        let seen = LastSeen::new(10);
        let [a, b] = [1, 2];
        let early = DateTime::<Utc>::UNIX_EPOCH;
        let late = early + TimeDelta::minutes(1);
        assert_eq!(seen.record(a, late), None);
        assert_eq!(seen.record(a, early), Some(late));
        assert_eq!(seen.record(b, early), None);
        assert_eq!(seen.take(), HashMap::from([(a, late), (b, early)]));
        assert!(seen.take().is_empty());
    }

    #[test]
    fn ids_beyond_the_capacity_evict_those_that_were_not_seen_lately() {
        let seen = LastSeen::new(100);
        let at = DateTime::<Utc>::UNIX_EPOCH;
        let busy = 0;
        for id in 1..10_000 {
            seen.record(id, at);
            assert_eq!(seen.record(busy, at).is_some(), id > 1, "{id}");
        }
        assert_eq!(seen.record(9_999, at), Some(at));
        assert_eq!(seen.record(1, at), None);
        assert!(seen.take().len() <= 100);
        assert!(seen.take().is_empty());
    }
}
