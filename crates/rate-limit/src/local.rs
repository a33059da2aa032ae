//! Counts of this process: the fallback without Redis. Memory is bounded by the keys of one window and a cap.
//!
//! Not governor: GCRA allows a burst of the limit and refills meanwhile, up to twice the limit in one window.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::deferred::{Triage, Uses};
use crate::window::Log;
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

#[derive(Default)]
struct Shard {
    /// Tables of the limits, of which there are a dozen.
    tables: Vec<Table>,
    /// Keys with deferred uses; some have been sent since.
    pending: Vec<(Limit, Hashed)>,
}

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

impl Default for Local {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            spread: RandomState::new(),
        }
    }
}

impl Local {
    /// Decides without Redis where that is possible. `replicas` is the number of processes that count together, `None` if none
    /// of the uses may be deferred.
    pub(crate) fn triage(&self, checks: &[LimitCheck], replicas: Option<u32>, now: u64) -> Triage {
        let mut locked = self.lock(checks);
        let each = 0..checks.len();
        let is_spent = |at: usize| checks[at].spends && locked.state(at, now).wait.is_some();
        if each.clone().any(is_spent) {
            return Triage::Rejected(Decision {
                states: each.map(|at| locked.state(at, now)).collect(),
            });
        }
        let has_room = replicas.is_some_and(|replicas| {
            each.clone()
                .all(|at| locked.has_room_to_defer(at, replicas, now))
        });
        if has_room {
            return Triage::Deferred(Decision {
                states: each.map(|at| locked.defer(at, now)).collect(),
            });
        }
        Triage::Undecided(each.filter_map(|at| locked.take(at)).collect())
    }

    /// Takes all deferred uses in order to send them.
    pub(crate) fn take_all(&self) -> Vec<Uses> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            for (limit, key) in std::mem::take(&mut shard.pending) {
                let log = shard.find(limit).and_then(|it| it.logs.get_mut(&key));
                all.extend(log.and_then(|log| log.deferral.take(limit, key.key)));
            }
        }
        all
    }

    /// Redis has replied about uses that were taken, or cannot.
    pub(crate) fn settle(&self, uses: &Uses) {
        let key = self.hashed(uses.key);
        let mut shard = lock(&self.shards[key.shard()]);
        if let Some(table) = shard.find(uses.limit)
            && let Some(log) = table.logs.get_mut(&key)
        {
            log.deferral.settle(uses.count);
        }
    }

    /// Stores what Redis has decided about limits that may be deferred.
    pub(crate) fn learn(&self, checks: &[LimitCheck], decision: &Decision, now: u64) {
        if checks.iter().all(|check| !check.limit.is_deferred()) {
            return;
        }
        let mut locked = self.lock(checks);
        for (at, state) in decision.states.iter().enumerate() {
            locked.learn(at, state, now);
        }
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
            for table in &mut lock(shard).tables {
                table.evict_idle(now);
                table.logs.shrink_to_fit();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        let keys = |shard: &Mutex<Shard>| -> usize {
            let shard = lock(shard);
            shard.tables.iter().map(|table| table.logs.len()).sum()
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
pub(crate) type Few<T> = SmallVec<[T; 2]>;

/// Locked shards of a request.
struct Locked<'a> {
    checks: &'a [LimitCheck],
    keys: Few<Hashed>,
    shards: Few<(usize, MutexGuard<'a, Shard>)>,
}

impl Locked<'_> {
    fn shard(&mut self, at: usize) -> Option<&mut Shard> {
        let wanted = self.keys[at].shard();
        let mut shards = self.shards.iter_mut();
        let (_, shard) = shards.find(|(shard, _)| *shard == wanted)?;
        Some(&mut **shard)
    }

    fn table(&mut self, at: usize) -> Option<&mut Table> {
        let limit = self.checks[at].limit;
        self.shard(at).map(|shard| shard.table(limit))
    }

    fn known(&mut self, at: usize) -> Option<&mut Log> {
        let key = self.keys[at];
        self.table(at)?.logs.get_mut(&key)
    }

    fn state(&mut self, at: usize, now: u64) -> LimitState {
        let limit = self.checks[at].limit;
        match self.known(at) {
            Some(log) => log.state(limit, now),
            None => Log::default().state(limit, now),
        }
    }

    fn spend(&mut self, at: usize, now: u64) -> LimitState {
        let limit = self.checks[at].limit;
        match self.log(at, now) {
            Some(log) => log.spend(limit, now),
            None => Log::default().state(limit, now),
        }
    }

    /// Log of a key; made if it is unknown.
    fn log(&mut self, at: usize, now: u64) -> Option<&mut Log> {
        let key = self.keys[at];
        self.table(at).map(|table| table.log(key, now))
    }

    fn has_room_to_defer(&mut self, at: usize, replicas: u32, now: u64) -> bool {
        let LimitCheck { limit, spends, .. } = self.checks[at];
        if !spends || !limit.is_deferred() {
            return false;
        }
        let mut unknown = Log::default();
        let log = self.known(at).unwrap_or(&mut unknown);
        let local = log.state(limit, now);
        log.deferral.has_room(limit, &local, replicas, now)
    }

    fn defer(&mut self, at: usize, now: u64) -> LimitState {
        let (limit, key) = (self.checks[at].limit, self.keys[at]);
        let local = self.spend(at, now);
        let Some(log) = self.log(at, now) else {
            return local;
        };
        let is_first = log.deferral.defer(now);
        let state = log.deferral.state(local, now);
        if is_first && let Some(shard) = self.shard(at) {
            shard.pending.push((limit, key));
        }
        state
    }

    fn take(&mut self, at: usize) -> Option<Uses> {
        let (limit, key) = (self.checks[at].limit, self.keys[at]);
        if !limit.is_deferred() {
            return None;
        }
        self.known(at)?.deferral.take(limit, key.key)
    }

    fn learn(&mut self, at: usize, state: &LimitState, now: u64) {
        if !state.limit.is_deferred() {
            return;
        }
        if let Some(log) = self.log(at, now) {
            log.learn(state, now);
        }
    }
}

impl Shard {
    fn find(&mut self, limit: Limit) -> Option<&mut Table> {
        self.tables
            .iter_mut()
            .find(|table| table.name == limit.name())
    }

    fn table(&mut self, limit: Limit) -> &mut Table {
        let known = self
            .tables
            .iter()
            .position(|table| table.name == limit.name());
        let index = known.unwrap_or_else(|| {
            self.tables.push(Table {
                name: limit.name(),
                logs: HashMap::default(),
                evict_in: EVICT_FROM,
            });
            self.tables.len() - 1
        });
        &mut self.tables[index]
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
            && let Some(any) = self.evictable()
        {
            self.logs.remove(&any);
        }
    }

    /// Any key whose uses are all in Redis, or any.
    fn evictable(&self) -> Option<Hashed> {
        let counted = self.logs.iter().find(|(_, log)| log.deferral.is_counted());
        counted
            .map(|(key, _)| key)
            .or_else(|| self.logs.keys().next())
            .copied()
    }

    /// Removes expired keys. The next eviction is after as many new keys as are left: amortized constant cost.
    fn evict_idle(&mut self, now: u64) {
        self.logs.retain(|_, log| log.is_live(now));
        self.evict_in = self.logs.len().max(EVICT_FROM);
    }
}
