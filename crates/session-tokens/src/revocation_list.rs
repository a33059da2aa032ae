//! Revocation list: ended sessions whose access tokens have not expired, in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Age beyond which the list is stale; it is filled every 500 ms.
const FRESH_FOR: Duration = Duration::from_secs(5);

const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// A clone is another handle on the same list.
#[derive(Clone, Debug, Default)]
pub struct RevocationList(Arc<RwLock<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    until: HashMap<Uuid, DateTime<Utc>>,
    owners: HashMap<Uuid, Vec<OwnerEntry>>,
    everybody: Vec<OwnerEntry>,
    filled_at: Option<Instant>,
    swept_at: Option<Instant>,
}

/// Sessions that one revocation covers.
#[derive(Clone, Debug)]
pub enum RevokedSessions {
    /// Sessions by id.
    Ids(Vec<Uuid>),
    /// All `UUIDv7`s of an owner created up to a millisecond, except `kept`.
    AllUntil {
        /// The user.
        owner: Uuid,
        /// Creation of the newest of them.
        created_until: DateTime<Utc>,
        /// The session that stays.
        kept: Option<Uuid>,
    },
    /// All `UUIDv7`s of everybody created up to a millisecond.
    EverybodyUntil {
        /// Creation of the newest of them.
        created_until: DateTime<Utc>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnerEntry {
    created_until: i64,
    kept: Option<Uuid>,
    until: DateTime<Utc>,
}

/// Status of a session in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationStatus {
    /// On the list.
    Revoked,
    /// Not on the list.
    Active,
    /// Not on the list, but the list is stale.
    Unknown,
}

impl Entries {
    fn contains(&self, owner: Uuid, id: Uuid) -> bool {
        let of_owner = || self.owners.get(&owner).into_iter().flatten();
        self.until.contains_key(&id)
            || of_owner()
                .chain(&self.everybody)
                .any(|entry| entry.covers(id))
    }

    fn add(&mut self, revoked: RevokedSessions, until: DateTime<Utc>) {
        match revoked {
            RevokedSessions::Ids(ids) => self.until.extend(ids.into_iter().map(|id| (id, until))),
            RevokedSessions::AllUntil {
                owner,
                created_until,
                kept,
            } => {
                let entry = OwnerEntry::new(created_until, kept, until);
                entry.add_to(self.owners.entry(owner).or_default());
            }
            RevokedSessions::EverybodyUntil { created_until } => {
                OwnerEntry::new(created_until, None, until).add_to(&mut self.everybody);
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
        self.everybody.retain(|entry| entry.until > now);
        self.until.shrink_to(self.until.len().saturating_mul(2));
        self.swept_at = Some(Instant::now());
    }
}

impl OwnerEntry {
    fn new(created_until: DateTime<Utc>, kept: Option<Uuid>, until: DateTime<Utc>) -> Self {
        Self {
            created_until: created_until.timestamp_millis(),
            kept,
            until,
        }
    }

    /// Adds it unless it was read before.
    fn add_to(self, entries: &mut Vec<Self>) {
        if !entries.contains(&self) {
            entries.push(self);
        }
    }

    fn covers(&self, id: Uuid) -> bool {
        self.kept != Some(id) && created_at_millis(id) <= self.created_until
    }
}

/// The millisecond of a `UUIDv7` (RFC 9562 §5.7), in its first 48 bits.
fn created_at_millis(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or_default()
}

impl RevocationList {
    /// Status of a session of `owner`.
    #[must_use]
    pub fn status(&self, owner: Uuid, id: Uuid) -> RevocationStatus {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if entries.contains(owner, id) {
            RevocationStatus::Revoked
        } else if entries.filled_at.is_some_and(|at| at.elapsed() < FRESH_FOR) {
            RevocationStatus::Active
        } else {
            RevocationStatus::Unknown
        }
    }

    /// Adds one session, until its access tokens have expired.
    pub fn revoke(&self, id: Uuid, until: DateTime<Utc>) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.until.insert(id, until);
    }

    /// Adds one page of what is read from the database.
    pub fn add(&self, revoked: impl IntoIterator<Item = (RevokedSessions, DateTime<Utc>)>) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (revoked, until) in revoked {
            entries.add(revoked, until);
        }
    }

    /// Adds the last page and drops expired entries; the list is fresh then.
    pub fn fill(
        &self,
        revoked: impl IntoIterator<Item = (RevokedSessions, DateTime<Utc>)>,
        now: DateTime<Utc>,
    ) {
        self.add(revoked);
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        entries.sweep(now);
        entries.filled_at = Some(Instant::now());
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let by_owner = entries.owners.values().map(Vec::len).sum::<usize>();
        entries.until.len() + by_owner + entries.everybody.len()
    }

    /// Returns true if there are no entries.
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
    fn an_id_is_revoked_until_its_time_and_nothing_is_active_before_the_first_fill() {
        let list = RevocationList::default();
        let [gone, fine] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let later = now + chrono::TimeDelta::minutes(15);
        assert_eq!(list.status(NOBODY, fine), RevocationStatus::Unknown);
        list.fill([(RevokedSessions::Ids(vec![gone]), later)], now);
        assert_eq!(list.status(NOBODY, gone), RevocationStatus::Revoked);
        assert_eq!(list.status(NOBODY, fine), RevocationStatus::Active);
        swept(&list);
        list.fill([], later);
        assert_eq!(list.status(NOBODY, gone), RevocationStatus::Active);
        assert!(list.is_empty());
    }

    #[test]
    fn one_entry_revokes_all_ids_of_an_owner_up_to_a_time_but_one() {
        let list = RevocationList::default();
        let now = DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
        let made = |millis| {
            let at = now + chrono::TimeDelta::milliseconds(millis);
            let bits = u128::try_from(at.timestamp_millis()).expect("it is after 1970") << 80;
            Uuid::from_u128(bits | u128::from(millis.unsigned_abs()))
        };
        let [owner, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let all = RevokedSessions::AllUntil {
            owner,
            created_until: now,
            kept: Some(made(-5)),
        };
        let until = now + chrono::TimeDelta::minutes(15);
        for _ in 0..3 {
            list.fill([(all.clone(), until)], now);
        }
        assert_eq!(list.len(), 1, "read again, it is the same entry");
        for (of, id, status) in [
            (owner, made(-1_000), RevocationStatus::Revoked),
            (owner, made(0), RevocationStatus::Revoked),
            (owner, made(1), RevocationStatus::Active),
            (owner, made(-5), RevocationStatus::Active),
            (other, made(-1_000), RevocationStatus::Active),
        ] {
            assert_eq!(list.status(of, id), status, "{id}");
        }
        swept(&list);
        list.fill([], until);
        assert!(list.is_empty());
    }

    #[test]
    fn one_entry_revokes_the_sessions_of_everybody_up_to_a_time() {
        let list = RevocationList::default();
        let now = DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
        let made = |millis: i64| {
            let at = u128::try_from(now.timestamp_millis() + millis).expect("it is after 1970");
            Uuid::from_u128(at << 80)
        };
        let everybody = RevokedSessions::EverybodyUntil { created_until: now };
        let until = now + chrono::TimeDelta::minutes(15);
        for _ in 0..3 {
            list.fill([(everybody.clone(), until)], now);
        }
        assert_eq!(list.len(), 1, "read again, it is the same entry");
        for owner in [1, 2].map(Uuid::from_u128) {
            assert_eq!(list.status(owner, made(0)), RevocationStatus::Revoked);
            assert_eq!(list.status(owner, made(1)), RevocationStatus::Active);
        }
        swept(&list);
        list.fill([], until);
        assert!(list.is_empty());
    }
}
