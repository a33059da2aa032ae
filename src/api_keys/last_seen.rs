//! Time of last use per id, in memory: recording it takes no round trip.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Bounded map in two generations (approximate LRU); a clone is another handle.
#[derive(Clone, Debug)]
pub struct LastSeen {
    seen: Arc<Mutex<Generations>>,
    capacity: usize,
}

/// When the young generation is full it becomes the old one, which is dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Uuid, DateTime<Utc>>,
    old: HashMap<Uuid, DateTime<Utc>>,
}

impl LastSeen {
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            seen: Arc::default(),
            capacity: (capacity / 2).max(1),
        }
    }

    /// Records a use and returns the previous one; keeps the later of the two.
    pub fn record(&self, id: Uuid, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.young.get(&id).or_else(|| seen.old.get(&id)).copied();
        if seen.young.len() >= self.capacity && !seen.young.contains_key(&id) {
            seen.old = std::mem::take(&mut seen.young);
        }
        seen.young
            .insert(id, before.map_or(at, |before| before.max(at)));
        before
    }

    /// Takes all uses since the last call.
    #[must_use]
    pub fn take(&self) -> HashMap<Uuid, DateTime<Utc>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, mut old } = std::mem::take(&mut *seen);
        old.extend(young);
        old
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_latest_moment_stays_until_it_is_taken() {
        let seen = LastSeen::new(10);
        let [a, b] = [1, 2].map(Uuid::from_u128);
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
        let busy = Uuid::from_u128(0);
        for id in 1..10_000 {
            seen.record(Uuid::from_u128(id), at);
            assert_eq!(seen.record(busy, at).is_some(), id > 1, "{id}");
        }
        assert_eq!(seen.record(Uuid::from_u128(9_999), at), Some(at));
        assert_eq!(seen.record(Uuid::from_u128(1), at), None);
        assert!(seen.take().len() <= 100);
        assert!(seen.take().is_empty());
    }
}
