//! The counts of this process. Memory is bounded by the callers of one window, and by a cap.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::shared::micros;
use super::{Ask, Decision, Key, Standing};
use crate::config::Limit;

/// Locks that callers spread over, a power of two.
const SHARDS: usize = 64;

/// Keys of one limit in one shard at most, above which one is forgotten for each new one. So many
/// callers within a window come from an attack by addresses, which a limit by address cannot hold.
const KEYS_MAX: usize = 200_000 / SHARDS;

/// Fewer keys are not worth tidying.
const TIDY_FROM: usize = 64;

pub(super) struct Local {
    shards: Box<[Mutex<Shard>]>,
    spread: RandomState,
}

/// The tables of the limits, of which there are a dozen.
#[derive(Default)]
struct Shard(Vec<Table>);

/// The callers of one limit. Limits do not share their room: a flood of one must not make another
/// forget, least of all the one that counts failed sign-ins.
struct Table {
    name: &'static str,
    logs: HashMap<Key, Log>,
    /// New keys until it is tidied.
    tidy_in: usize,
}

/// When a limit was spent, oldest first.
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
    /// The decision, if one of the limits that are to be spent refuses; spends nothing.
    pub(super) fn refuses(&self, asks: &[Ask], now: u64) -> Option<Decision> {
        let mut locked = self.lock(asks);
        let stands = |ask: &Ask| locked.standing(ask, now);
        let standings: Vec<_> = asks.iter().map(stands).collect();
        let spent = |(ask, one): (&Ask, &Standing)| ask.spends && one.wait.is_some();
        let refused = asks.iter().zip(&standings).any(spent);
        refused.then_some(Decision { standings })
    }

    /// Decides about all limits at once.
    pub(super) fn check(&self, asks: &[Ask], now: u64) -> Decision {
        let mut locked = self.lock(asks);
        let allowed = asks
            .iter()
            .all(|ask| locked.standing(ask, now).wait.is_none());
        let standings = asks.iter().map(|ask| {
            let before = locked.standing(ask, now);
            if allowed && ask.spends {
                locked.spend(ask, now)
            } else {
                before
            }
        });
        Decision {
            standings: standings.collect(),
        }
    }

    /// Spends in any case.
    pub(super) fn note(&self, asks: &[Ask], now: u64) -> Decision {
        let mut locked = self.lock(asks);
        let standings = asks.iter().map(|ask| {
            if ask.spends {
                locked.spend(ask, now)
            } else {
                locked.standing(ask, now)
            }
        });
        Decision {
            standings: standings.collect(),
        }
    }

    pub(super) fn forget(&self, uses: &[(Limit, Key)]) {
        for (limit, key) in uses {
            let mut shard = lock(&self.shards[self.shard_of(*key)]);
            if let Some(table) = shard.find(*limit) {
                table.logs.remove(key);
            }
        }
    }

    /// Drops the keys whose window has passed, and the room they took.
    pub(super) fn tidy(&self, now: u64) {
        for shard in &self.shards {
            for table in &mut lock(shard).0 {
                table.tidy(now);
                table.logs.shrink_to_fit();
            }
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        let keys = |shard: &Mutex<Shard>| -> usize {
            lock(shard).0.iter().map(|table| table.logs.len()).sum()
        };
        self.shards.iter().map(keys).sum()
    }

    fn shard_of(&self, key: Key) -> usize {
        usize::try_from(self.spread.hash_one(key) % SHARDS as u64).unwrap_or_default()
    }

    /// Locks the shards of all keys, always in the same order, so that two requests never wait for
    /// each other.
    fn lock(&self, asks: &[Ask]) -> Locked<'_> {
        let mut shards: Vec<_> = asks.iter().map(|ask| self.shard_of(ask.key)).collect();
        shards.sort_unstable();
        shards.dedup();
        let locked = shards
            .into_iter()
            .map(|shard| (shard, lock(&self.shards[shard])));
        Locked {
            local: self,
            shards: locked.collect(),
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shards that one request needs.
struct Locked<'a> {
    local: &'a Local,
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
}

impl Locked<'_> {
    fn table(&mut self, ask: &Ask) -> Option<&mut Table> {
        let wanted = self.local.shard_of(ask.key);
        let (_, shard) = self.shards.iter_mut().find(|(shard, _)| *shard == wanted)?;
        Some(shard.table(ask.limit))
    }

    fn standing(&mut self, ask: &Ask, now: u64) -> Standing {
        let log = self
            .table(ask)
            .and_then(|table| table.logs.get_mut(&ask.key));
        match log {
            Some(log) => log.standing(ask.limit, now),
            None => Log::default().standing(ask.limit, now),
        }
    }

    fn spend(&mut self, ask: &Ask, now: u64) -> Standing {
        let log = self.table(ask).map(|table| table.log(ask.key, now));
        match log {
            Some(log) => log.spend(ask.limit, now),
            None => Log::default().standing(ask.limit, now),
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
                logs: HashMap::new(),
                tidy_in: TIDY_FROM,
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

impl Table {
    /// The log of a key, for which room is made if it is new.
    fn log(&mut self, key: Key, now: u64) -> &mut Log {
        if !self.logs.contains_key(&key) {
            self.make_room(now);
        }
        self.logs.entry(key).or_default()
    }

    fn make_room(&mut self, now: u64) {
        self.tidy_in = self.tidy_in.saturating_sub(1);
        if self.tidy_in == 0 {
            self.tidy(now);
        }
        if self.logs.len() >= KEYS_MAX
            && let Some(any) = self.logs.keys().next().copied()
        {
            self.logs.remove(&any);
        }
    }

    /// Drops what has run out. The next time is after as many new keys as there are left, so that
    /// a new key costs as much on average however many there are.
    fn tidy(&mut self, now: u64) {
        self.logs.retain(|_, log| log.counts_at(now));
        self.tidy_in = self.logs.len().max(TIDY_FROM);
    }
}

impl Log {
    /// Whether anything in it counts still.
    fn counts_at(&self, now: u64) -> bool {
        let newest = self.times.back();
        newest.is_some_and(|time| time.saturating_add(self.window) > now)
    }

    fn forget_old(&mut self, window: u64, now: u64) {
        while let Some(oldest) = self.times.front()
            && oldest.saturating_add(window) <= now
        {
            self.times.pop_front();
        }
    }

    fn standing(&mut self, limit: Limit, now: u64) -> Standing {
        let window = micros(limit.window());
        self.forget_old(window, now);
        let until = |time: u64| Duration::from_micros((time + window).saturating_sub(now));
        let used = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        let over = used.checked_sub(limit.max());
        let blocking = over.and_then(|over| self.times.get(over as usize));
        Standing {
            limit,
            used,
            reset: self
                .times
                .front()
                .map_or(limit.window(), |time| until(*time)),
            wait: blocking.map(|time| until(*time)),
        }
    }

    fn spend(&mut self, limit: Limit, now: u64) -> Standing {
        let before = self.standing(limit, now);
        self.window = micros(limit.window());
        // Two requests may come here in another order than they began.
        let earlier = self.times.iter().rposition(|time| *time <= now);
        self.times.insert(earlier.map_or(0, |at| at + 1), now);
        if self.times.len() > limit.max() as usize {
            self.times.pop_front();
        }
        Standing {
            wait: before.wait,
            ..self.standing(limit, now)
        }
    }
}
