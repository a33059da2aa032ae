//! What one process keeps of one family: a bounded number of values, and the reads that are under
//! way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::{Key, LoadError};

/// A read that any number wait for. It goes on while one of them does.
pub(super) type Read<V> = Shared<BoxFuture<'static, Result<Arc<V>, LoadError>>>;
type Handle<V> = WeakShared<BoxFuture<'static, Result<Arc<V>, LoadError>>>;

/// The values and the reads of a family.
pub(super) struct Memory<K, V> {
    tables: Mutex<Tables<K, V>>,
    half: usize,
}

/// Values are in two halves. When the young one is full it becomes the old one, and what nobody
/// wanted since the last time goes: what is used stays, and no value costs more than a look-up.
struct Tables<K, V> {
    young: Table<K, Kept<V>>,
    old: Table<K, Kept<V>>,
    reads: Table<K, Begun<V>>,
    next_number: u64,
}

/// Keys are ids that we made: nobody outside can choose them to fall together.
type Table<K, V> = HashMap<K, V, RandomState>;

struct Kept<V> {
    value: Arc<V>,
    stored: DateTime<Utc>,
}

struct Begun<V> {
    number: u64,
    read: Handle<V>,
}

/// What a look-up came to.
pub(super) enum Found<V> {
    /// It is known.
    Ready(Arc<V>),
    /// Somebody reads it already.
    Joined(Read<V>),
    /// It is being read from now on.
    Started(Read<V>),
}

/// The right to keep what a read brings, which ends when the key is forgotten.
pub(super) struct Ticket<K: Key, V> {
    memory: Arc<Memory<K, V>>,
    key: K,
    number: u64,
}

impl<V> Kept<V> {
    /// Whether it is good at `now`. One from the future is not: the clock was set back.
    fn is_fresh(&self, now: DateTime<Utc>, ttl: Duration) -> bool {
        (now - self.stored).to_std().is_ok_and(|age| age < ttl)
    }
}

impl<K: Key, V> Memory<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            tables: Mutex::new(Tables {
                young: Table::default(),
                old: Table::default(),
                reads: Table::default(),
                next_number: 0,
            }),
            half: (capacity / 2).max(1),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables<K, V>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key if it is younger than `ttl`, or else a read of it.
    pub(super) fn find_or_start(
        self: &Arc<Self>,
        key: &K,
        now: DateTime<Utc>,
        ttl: Duration,
        start: impl FnOnce(Ticket<K, V>) -> BoxFuture<'static, Result<Arc<V>, LoadError>>,
    ) -> Found<V> {
        let mut tables = self.tables();
        if let Some(kept) = tables.find(key, self.half)
            && kept.is_fresh(now, ttl)
        {
            return Found::Ready(Arc::clone(&kept.value));
        }
        let read = tables.reads.get(key).and_then(|begun| begun.read.upgrade());
        if let Some(read) = read {
            return Found::Joined(read);
        }
        let number = tables.next_number;
        tables.next_number += 1;
        let read = start(Ticket {
            memory: Arc::clone(self),
            key: key.clone(),
            number,
        })
        .shared();
        if let Some(handle) = read.downgrade() {
            let begun = Begun {
                number,
                read: handle,
            };
            tables.reads.insert(key.clone(), begun);
        }
        Found::Started(read)
    }

    /// Forgets a value, and lets no read keep it that began before.
    pub(super) fn forget(&self, key: &K) {
        let mut tables = self.tables();
        tables.young.remove(key);
        tables.old.remove(key);
        tables.reads.remove(key);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut tables = self.tables();
        tables.young.clear();
        tables.old.clear();
        tables.reads.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let tables = self.tables();
        tables.young.len() + tables.old.len()
    }

    #[cfg(test)]
    pub(super) fn reads(&self) -> usize {
        self.tables().reads.len()
    }
}

impl<K: Key, V> Tables<K, V> {
    fn find(&mut self, key: &K, half: usize) -> Option<&Kept<V>> {
        if !self.young.contains_key(key)
            && let Some(kept) = self.old.remove(key)
        {
            self.insert(key.clone(), kept, half);
        }
        self.young.get(key)
    }

    fn insert(&mut self, key: K, kept: Kept<V>, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, kept);
    }
}

impl<K: Key, V> Ticket<K, V> {
    pub(super) fn key(&self) -> &K {
        &self.key
    }

    /// Keeps what was read, unless the key was forgotten meanwhile.
    pub(super) fn keep(self, value: &Arc<V>, stored: DateTime<Utc>) {
        let mut tables = self.memory.tables();
        if tables.is_current(&self) {
            let kept = Kept {
                value: Arc::clone(value),
                stored,
            };
            tables.insert(self.key.clone(), kept, self.memory.half);
            tables.reads.remove(&self.key);
        }
    }
}

impl<K: Key, V> Tables<K, V> {
    fn is_current(&self, ticket: &Ticket<K, V>) -> bool {
        let begun = self.reads.get(&ticket.key);
        begun.is_some_and(|begun| begun.number == ticket.number)
    }
}

impl<K: Key, V> Drop for Ticket<K, V> {
    /// A read that failed, or that nobody waits for any more, makes room for another.
    fn drop(&mut self) {
        let mut tables = self.memory.tables();
        if tables.is_current(self) {
            tables.reads.remove(&self.key);
        }
    }
}
