//! Ids that are refused until a time, kept in the process, so that looking costs a request nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How old the list may be and still be believed. Whoever fills it does so far more often.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// A list of refused ids; a clone is another handle on it.
#[derive(Clone, Debug, Default)]
pub struct Denylist(Arc<RwLock<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    until: HashMap<Uuid, DateTime<Utc>>,
    filled_at: Option<Instant>,
}

/// What the list says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is on the list.
    Denied,
    /// It is not, and the list is up to date.
    Allowed,
    /// It is not, but the list is too old to tell.
    Unknown,
}

impl Denylist {
    /// What the list says of `id`.
    #[must_use]
    pub fn verdict(&self, id: Uuid) -> Verdict {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if entries.until.contains_key(&id) {
            Verdict::Denied
        } else if entries.filled_at.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            Verdict::Allowed
        } else {
            Verdict::Unknown
        }
    }

    /// Puts one id on the list at once.
    pub fn deny(&self, id: Uuid, until: DateTime<Utc>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .until
            .insert(id, until);
    }

    /// Adds what was read from the truth just now, and forgets what has run out.
    pub fn fill(
        &self,
        denied: impl IntoIterator<Item = (Uuid, DateTime<Utc>)>,
        now: DateTime<Utc>,
    ) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.until.extend(denied);
        entries.until.retain(|_, until| *until > now);
        entries.filled_at = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_denied_until_its_time_and_nothing_is_allowed_before_the_first_fill() {
        let list = Denylist::default();
        let [gone, fine] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let later = now + chrono::TimeDelta::minutes(15);
        assert_eq!(list.verdict(fine), Verdict::Unknown);
        list.fill([(gone, later)], now);
        assert_eq!(list.verdict(gone), Verdict::Denied);
        assert_eq!(list.verdict(fine), Verdict::Allowed);
        list.fill([], later);
        assert_eq!(list.verdict(gone), Verdict::Allowed);
    }
}
