//! Counts of this process: the fallback without Redis. Memory is bounded by the keys of one window and a cap.
//!
//! Not governor: GCRA allows a burst of the limit and refills meanwhile, up to twice the limit in one window.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use crate::lane::micros;
use crate::{Decision, Key, Limit, LimitCheck, LimitState};

/// Parts with a lock each, so that threads seldom contend.
const SHARDS: usize = 64;

/// Keys of one limit in one shard, above which each new one evicts another. So many within a window are an
/// attack from many addresses, which a limit by address cannot stop.
const KEYS_MAX: usize = 200_000 / SHARDS;

/// Fewer keys are not worth an eviction.
const EVICT_FROM: usize = 64;

pub(crate) struct Local {
    shards: Box<[Mutex<Shard>]>,
    spread: RandomState,
}

/// Tables of the limits, of which there are a dozen.
#[derive(Default)]
struct Shard(Vec<Table>);

/// Keys of one limit. Limits do not share capacity: a flood of one must not evict keys of another, least of all
/// failed sign-ins.
struct Table {
    name: &'static str,
    logs: HashMap<Hashed, Log, BuildHasherDefault<Precomputed>>,
    /// New keys until the next eviction.
    evict_in: usize,
}

/// A key with its hash, which is computed once for shard and table.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hashed {
    hash: u64,
    key: Key,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[derive(Default)]
struct Precomputed(u64);

impl Hasher for Precomputed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Times at which a limit was spent, oldest first.
#[derive(Default)]
struct Log {
    times: VecDeque<u64>,
    window: u64,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            spread: RandomState::new(),
        }
    }
}

impl Local {
    /// Returns the decision if a limit that is to be spent rejects; spends nothing.
    pub(crate) fn rejection(&self, checks: &[LimitCheck], now: u64) -> Option<Decision> {
        let mut locked = self.lock(checks);
        let each = 0..checks.len();
        let is_spent = |at: usize| checks[at].spends && locked.state(at, now).wait.is_some();
        each.clone().any(is_spent).then(|| Decision {
            states: each.map(|at| locked.state(at, now)).collect(),
        })
    }

    pub(crate) fn check(&self, checks: &[LimitCheck], now: u64) -> Decision {
        let mut locked = self.lock(checks);
        let is_allowed = (0..checks.len()).all(|at| locked.state(at, now).wait.is_none());
        let states = (0..checks.len()).map(|at| {
            let before = locked.state(at, now);
            if is_allowed && checks[at].spends {
                locked.spend(at, now)
            } else {
                before
            }
        });
        Decision {
            states: states.collect(),
        }
    }

    /// Spends what Redis allowed.
    pub(crate) fn record_allowed(&self, checks: &[LimitCheck], now: u64) {
        let mut locked = self.lock(checks);
        for (at, check) in checks.iter().enumerate() {
            if check.spends {
                locked.spend(at, now);
            }
        }
    }

    /// Spends unconditionally.
    pub(crate) fn record(&self, checks: &[LimitCheck], now: u64) -> Decision {
        let mut locked = self.lock(checks);
        let states = (0..checks.len()).map(|at| {
            if checks[at].spends {
                locked.spend(at, now)
            } else {
                locked.state(at, now)
            }
        });
        Decision {
            states: states.collect(),
        }
    }

    pub(crate) fn reset(&self, uses: &[(Limit, Key)]) {
        for (limit, key) in uses {
            let key = self.hashed(*key);
            let mut shard = lock(&self.shards[key.shard()]);
            if let Some(table) = shard.find(*limit) {
                table.logs.remove(&key);
            }
        }
    }

    /// Removes keys whose window has passed, and frees their memory.
    pub(crate) fn evict_idle(&self, now: u64) {
        for shard in &self.shards {
            for table in &mut lock(shard).0 {
                table.evict_idle(now);
                table.logs.shrink_to_fit();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        let keys = |shard: &Mutex<Shard>| -> usize {
            lock(shard).0.iter().map(|table| table.logs.len()).sum()
        };
        self.shards.iter().map(keys).sum()
    }

    fn hashed(&self, key: Key) -> Hashed {
        let hash = self.spread.hash_one(key);
        Hashed { hash, key }
    }

    /// Locks the shards of all keys in one order, so that two requests cannot deadlock.
    fn lock<'a>(&'a self, checks: &'a [LimitCheck]) -> Locked<'a> {
        let keys: Few<_> = checks.iter().map(|check| self.hashed(check.key)).collect();
        let mut shards: Few<_> = keys.iter().map(Hashed::shard).collect();
        shards.sort_unstable();
        shards.dedup();
        let locked = shards
            .into_iter()
            .map(|shard| (shard, lock(&self.shards[shard])));
        Locked {
            checks,
            keys,
            shards: locked.collect(),
        }
    }
}

impl Hashed {
    /// By the middle of the hash: a table goes by both its ends.
    fn shard(&self) -> usize {
        usize::try_from((self.hash >> 32) % SHARDS as u64).unwrap_or_default()
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One element for each check of a request, which has one or two.
type Few<T> = SmallVec<[T; 2]>;

/// Locked shards of a request.
struct Locked<'a> {
    checks: &'a [LimitCheck],
    keys: Few<Hashed>,
    shards: Few<(usize, MutexGuard<'a, Shard>)>,
}

impl Locked<'_> {
    fn table(&mut self, at: usize) -> Option<&mut Table> {
        let wanted = self.keys[at].shard();
        let (_, shard) = self.shards.iter_mut().find(|(shard, _)| *shard == wanted)?;
        Some(shard.table(self.checks[at].limit))
    }

    fn state(&mut self, at: usize, now: u64) -> LimitState {
        let (limit, key) = (self.checks[at].limit, self.keys[at]);
        let log = self.table(at).and_then(|table| table.logs.get_mut(&key));
        match log {
            Some(log) => log.state(limit, now),
            None => Log::default().state(limit, now),
        }
    }

    fn spend(&mut self, at: usize, now: u64) -> LimitState {
        let (limit, key) = (self.checks[at].limit, self.keys[at]);
        match self.table(at).map(|table| table.log(key, now)) {
            Some(log) => log.spend(limit, now),
            None => Log::default().state(limit, now),
        }
    }
}

impl Shard {
    fn find(&mut self, limit: Limit) -> Option<&mut Table> {
        self.0.iter_mut().find(|table| table.name == limit.name())
    }

    fn table(&mut self, limit: Limit) -> &mut Table {
        let known = self.0.iter().position(|table| table.name == limit.name());
        let index = known.unwrap_or_else(|| {
            self.0.push(Table {
                name: limit.name(),
                logs: HashMap::default(),
                evict_in: EVICT_FROM,
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

impl Table {
    fn log(&mut self, key: Hashed, now: u64) -> &mut Log {
        if !self.logs.contains_key(&key) {
            self.make_room(now);
        }
        self.logs.entry(key).or_default()
    }

    fn make_room(&mut self, now: u64) {
        self.evict_in = self.evict_in.saturating_sub(1);
        if self.evict_in == 0 {
            self.evict_idle(now);
        }
        if self.logs.len() >= KEYS_MAX
            && let Some(any) = self.logs.keys().next().copied()
        {
            self.logs.remove(&any);
        }
    }

    /// Removes expired keys. The next eviction is after as many new keys as are left: amortized constant cost.
    fn evict_idle(&mut self, now: u64) {
        self.logs.retain(|_, log| log.is_live(now));
        self.evict_in = self.logs.len().max(EVICT_FROM);
    }
}

impl Log {
    fn is_live(&self, now: u64) -> bool {
        let newest = self.times.back();
        newest.is_some_and(|time| time.saturating_add(self.window) > now)
    }

    fn expire(&mut self, window: u64, now: u64) {
        while let Some(oldest) = self.times.front()
            && oldest.saturating_add(window) <= now
        {
            self.times.pop_front();
        }
    }

    fn state(&mut self, limit: Limit, now: u64) -> LimitState {
        let window = micros(limit.window());
        self.expire(window, now);
        let until = |time: u64| Duration::from_micros((time + window).saturating_sub(now));
        let used = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        let over = used.checked_sub(limit.max());
        let blocking = over.and_then(|over| self.times.get(over as usize));
        LimitState {
            limit,
            used,
            reset: self
                .times
                .front()
                .map_or(limit.window(), |time| until(*time)),
            wait: blocking.map(|time| until(*time)),
        }
    }

    fn spend(&mut self, limit: Limit, now: u64) -> LimitState {
        let before = self.state(limit, now);
        self.window = micros(limit.window());
        // Requests may arrive in another order than they began.
        let earlier = self.times.iter().rposition(|time| *time <= now);
        self.times.insert(earlier.map_or(0, |at| at + 1), now);
        if self.times.len() > limit.max() as usize {
            self.times.pop_front();
        }
        LimitState {
            wait: before.wait,
            ..self.state(limit, now)
        }
    }
}
