//! When each of some ids was last seen, kept in the process, so that noting it costs a request
//! nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The ids and their moments; a clone is another handle on them.
#[derive(Clone, Debug, Default)]
pub struct LastSeen(Arc<Mutex<HashMap<Uuid, DateTime<Utc>>>>);

impl LastSeen {
    /// Notes that `id` was seen at `at`; answers what was noted of it before. The later moment stays.
    pub fn note(&self, id: Uuid, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.get(&id).copied();
        seen.insert(id, before.map_or(at, |before| before.max(at)));
        before
    }

    /// Takes all that was noted since the last time.
    #[must_use]
    pub fn take(&self) -> HashMap<Uuid, DateTime<Utc>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_latest_moment_stays_until_it_is_taken() {
        let seen = LastSeen::default();
        let [a, b] = [1, 2].map(Uuid::from_u128);
        let early = DateTime::<Utc>::UNIX_EPOCH;
        let late = early + TimeDelta::minutes(1);
        assert_eq!(seen.note(a, late), None);
        assert_eq!(seen.note(a, early), Some(late));
        assert_eq!(seen.note(b, early), None);
        assert_eq!(seen.take(), HashMap::from([(a, late), (b, early)]));
        assert!(seen.take().is_empty());
    }
}
