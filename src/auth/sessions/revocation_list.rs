//! Revocation list: ended sessions whose access tokens have not expired, in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Age beyond which the list is stale. It is filled far more often.
const FRESH_FOR: Duration = Duration::from_secs(5);

const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// A clone is another handle on the same list.
#[derive(Clone, Debug, Default)]
pub struct RevocationList(Arc<RwLock<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    until: HashMap<Uuid, DateTime<Utc>>,
    owners: HashMap<Uuid, Vec<Sweeping>>,
    filled_at: Option<Instant>,
    swept_at: Option<Instant>,
}

/// Ids to refuse.
#[derive(Clone, Debug)]
pub enum Denied {
    /// These.
    Ids(Vec<Uuid>),
    /// All `UUIDv7`s of an owner that were made up to a time, but one.
    AllOf {
        /// The owner.
        owner: Uuid,
        /// Up to this millisecond.
        made_until: DateTime<Utc>,
        /// The one that stays.
        kept: Option<Uuid>,
    },
}

/// An entry for all ids of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sweeping {
    made_until: i64,
    kept: Option<Uuid>,
    until: DateTime<Utc>,
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

impl Entries {
    fn contains(&self, owner: Uuid, id: Uuid) -> bool {
        let of_owner = || self.owners.get(&owner).into_iter().flatten();
        self.until.contains_key(&id) || of_owner().any(|entry| entry.covers(id))
    }

    fn add(&mut self, denied: Denied, until: DateTime<Utc>) {
        match denied {
            Denied::Ids(ids) => self.until.extend(ids.into_iter().map(|id| (id, until))),
            Denied::AllOf {
                owner,
                made_until,
                kept,
            } => {
                let entry = Sweeping {
                    made_until: made_until.timestamp_millis(),
                    kept,
                    until,
                };
                let entries = self.owners.entry(owner).or_default();
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
    }

    fn sweep(&mut self, now: DateTime<Utc>) {
        let is_due = |at: Instant| at.elapsed() >= SWEEP_EVERY;
        if !self.swept_at.is_none_or(is_due) {
            return;
        }
        self.until.retain(|_, until| *until > now);
        self.owners.retain(|_, entries| {
            entries.retain(|entry| entry.until > now);
            !entries.is_empty()
        });
        self.until.shrink_to(self.until.len().saturating_mul(2));
        self.swept_at = Some(Instant::now());
    }
}

impl Sweeping {
    fn covers(&self, id: Uuid) -> bool {
        self.kept != Some(id) && made_at(id) <= self.made_until
    }
}

/// The millisecond of a `UUIDv7` (RFC 9562 §5.7), in its first 48 bits.
fn made_at(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or_default()
}

impl RevocationList {
    /// Verdict of the list on a session `id` of an owner.
    #[must_use]
    pub fn verdict(&self, owner: Uuid, id: Uuid) -> Verdict {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if entries.contains(owner, id) {
            Verdict::Denied
        } else if entries.filled_at.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            Verdict::Allowed
        } else {
            Verdict::Unknown
        }
    }

    /// Puts one id on the list at once.
    pub fn revoke(&self, id: Uuid, until: DateTime<Utc>) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.until.insert(id, until);
    }

    /// Adds a part of what is being read from the database.
    pub fn add(&self, denied: impl IntoIterator<Item = (Denied, DateTime<Utc>)>) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (denied, until) in denied {
            entries.add(denied, until);
        }
    }

    /// Adds the rest of what was read just now, and drops what has run out.
    pub fn fill(
        &self,
        denied: impl IntoIterator<Item = (Denied, DateTime<Utc>)>,
        now: DateTime<Utc>,
    ) {
        self.add(denied);
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.sweep(now);
        entries.filled_at = Some(Instant::now());
    }

    /// How many entries the list has.
    #[must_use]
    pub fn len(&self) -> usize {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        entries.until.len() + entries.owners.values().map(Vec::len).sum::<usize>()
    }

    /// Returns whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Uuid = Uuid::nil();

    fn swept(list: &RevocationList) {
        let mut entries = list.0.write().expect("nobody panics here");
        entries.swept_at = None;
    }

    #[test]
    fn an_id_is_denied_until_its_time_and_nothing_is_allowed_before_the_first_fill() {
        let list = RevocationList::default();
        let [gone, fine] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let later = now + chrono::TimeDelta::minutes(15);
        assert_eq!(list.verdict(NOBODY, fine), Verdict::Unknown);
        list.fill([(Denied::Ids(vec![gone]), later)], now);
        assert_eq!(list.verdict(NOBODY, gone), Verdict::Denied);
        assert_eq!(list.verdict(NOBODY, fine), Verdict::Allowed);
        swept(&list);
        list.fill([], later);
        assert_eq!(list.verdict(NOBODY, gone), Verdict::Allowed);
        assert!(list.is_empty());
    }

    #[test]
    fn one_entry_denies_all_ids_of_an_owner_up_to_a_time_but_one() {
        let list = RevocationList::default();
        let now = DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
        let made = |millis| {
            let at = now + chrono::TimeDelta::milliseconds(millis);
            let bits = u128::try_from(at.timestamp_millis()).expect("it is after 1970") << 80;
            Uuid::from_u128(bits | u128::from(millis.unsigned_abs()))
        };
        let [owner, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let all = Denied::AllOf {
            owner,
            made_until: now,
            kept: Some(made(-5)),
        };
        let until = now + chrono::TimeDelta::minutes(15);
        for _ in 0..3 {
            list.fill([(all.clone(), until)], now);
        }
        assert_eq!(list.len(), 1, "read again, it is the same entry");
        for (of, id, verdict) in [
            (owner, made(-1_000), Verdict::Denied),
            (owner, made(0), Verdict::Denied),
            (owner, made(1), Verdict::Allowed),
            (owner, made(-5), Verdict::Allowed),
            (other, made(-1_000), Verdict::Allowed),
        ] {
            assert_eq!(list.verdict(of, id), verdict, "{id}");
        }
        swept(&list);
        list.fill([], until);
        assert!(list.is_empty());
    }
}
