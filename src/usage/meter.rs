//! Usage meter: request counts by account, in memory until they are written. A request costs two map lookups.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use uuid::Uuid;

/// Shards of the map, each with its own lock.
const SHARDS: usize = 16;

/// Interned name of an operation ([`Meter::endpoint`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeterKey {
    pub account: Uuid,
    pub endpoint: Endpoint,
    pub status: u16,
    /// In minutes since 1970.
    pub minute: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub requests: u64,
    pub total: Duration,
    pub longest: Duration,
}

impl Sum {
    fn add(&mut self, took: Duration) {
        self.requests += 1;
        self.total += took;
        self.longest = self.longest.max(took);
    }
}

#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// Maximum number of sums of a shard.
    capacity: usize,
    endpoints: RwLock<Vec<Arc<str>>>,
    outgoing: tokio::sync::Mutex<Outgoing>,
}

#[derive(Default)]
struct Shard {
    sums: HashMap<MeterKey, Sum>,
    uses: HashMap<Uuid, Use>,
}

/// Usage of an account in a period, as far as this process knows.
#[derive(Clone, Copy, Default)]
struct Use {
    period: i32,
    /// Total of all processes at the last write of this one.
    written: u64,
    /// Counted by this process and not yet written.
    pending: u64,
    /// Rejected in this period, so that the entry is kept until the period ends.
    rejected: bool,
    /// Used since the last eviction.
    recent: bool,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    /// Meter with about `capacity` sums. `writer` identifies this process in `usage_writers`.
    #[must_use]
    pub fn new(capacity: usize, writer: Uuid) -> Self {
        Self(Arc::new(Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            capacity: capacity.div_ceil(SHARDS),
            endpoints: RwLock::default(),
            outgoing: tokio::sync::Mutex::new(Outgoing {
                writer,
                batch: 1,
                rows: Vec::new(),
            }),
        }))
    }

    /// Interns the name of an operation.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> Endpoint {
        let mut known = (self.0.endpoints.write()).unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|it| **it == *name);
        let at = at.unwrap_or_else(|| {
            known.push(name.into());
            known.len() - 1
        });
        Endpoint(u32::try_from(at).unwrap_or(u32::MAX))
    }

    #[must_use]
    pub fn names(&self) -> EndpointNames {
        let known = (self.0.endpoints.read()).unwrap_or_else(PoisonError::into_inner);
        EndpointNames(known.clone())
    }

    /// Counts a request; returns `false` if the capacity is exhausted. `period` is set for requests that are
    /// charged to a quota.
    #[must_use]
    pub fn record(&self, key: MeterKey, took: Duration, period: Option<i32>) -> bool {
        let mut shard = self.shard(key.account);
        if !shard.sums.contains_key(&key) && shard.sums.len() >= self.0.capacity {
            return false;
        }
        shard.sums.entry(key).or_default().add(took);
        if let Some(period) = period {
            let used = shard.uses.entry(key.account).or_default();
            used.enter(period);
            if used.period == period {
                used.pending += 1;
            }
        }
        true
    }

    /// Charged requests of a period, as far as this process knows.
    #[must_use]
    pub fn used(&self, account: Uuid, period: i32) -> u64 {
        let mut shard = self.shard(account);
        let Some(used) = shard.uses.get_mut(&account) else {
            return 0;
        };
        used.enter(period);
        if used.period == period {
            used.written + used.pending
        } else {
            0
        }
    }

    /// Keeps the entry of a rejected account until the period ends.
    pub fn mark_rejected(&self, account: Uuid, period: i32) {
        if let Some(used) = self.shard(account).uses.get_mut(&account) {
            used.rejected = used.period == period;
        }
    }

    /// Moves `sent` requests from pending to written. `total` is the new total of all processes, if known.
    pub fn settle(&self, account: Uuid, period: i32, sent: u64, total: Option<u64>) {
        let mut shard = self.shard(account);
        let Some(used) = shard.uses.get_mut(&account) else {
            return;
        };
        if used.period == period {
            used.pending = used.pending.saturating_sub(sent);
            used.written = total.unwrap_or(used.written + sent);
        }
    }

    /// Evicts accounts that were idle since the last call.
    pub fn evict_idle(&self, period: i32) {
        for shard in &self.0.shards {
            let mut shard = lock(shard);
            shard.uses.retain(|_, used| {
                let kept = used.recent || used.pending > 0;
                used.recent = false;
                kept || (used.rejected && used.period == period)
            });
            shard.uses.shrink_to_fit();
        }
    }

    /// Number of sums to be written, without those in [`Outgoing`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        let shards = self.0.shards.iter();
        shards.map(|shard| lock(shard).sums.len()).sum()
    }

    /// Locks the batches for writing. Counting does not wait for it.
    pub async fn outgoing(&self) -> tokio::sync::MutexGuard<'_, Outgoing> {
        self.0.outgoing.lock().await
    }

    fn shard(&self, account: Uuid) -> MutexGuard<'_, Shard> {
        // The last byte of an id is random.
        lock(&self.0.shards[usize::from(account.as_bytes()[15]) % SHARDS])
    }

    fn drain(&self, rows: &mut Vec<(MeterKey, Sum)>) {
        for shard in &self.0.shards {
            rows.extend(std::mem::take(&mut lock(shard).sums));
        }
    }
}

impl Use {
    /// Begins a new period. Requests of an older one, after a clock went back, are ignored.
    fn enter(&mut self, period: i32) {
        if self.period < period {
            *self = Self {
                period,
                ..Self::default()
            };
        }
        self.recent = true;
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Debug)]
pub struct EndpointNames(Vec<Arc<str>>);

impl EndpointNames {
    #[must_use]
    pub fn get(&self, endpoint: Endpoint) -> &str {
        let at = usize::try_from(endpoint.0).unwrap_or(usize::MAX);
        self.0.get(at).map_or("", |name| name)
    }
}

/// Counts to be written, in numbered batches. A batch is immutable until it is known to be written, so that
/// sending it again is idempotent.
#[derive(Debug)]
pub struct Outgoing {
    writer: Uuid,
    batch: i64,
    rows: Vec<(MeterKey, Sum)>,
}

impl Outgoing {
    #[must_use]
    pub const fn writer(&self) -> Uuid {
        self.writer
    }

    #[must_use]
    pub const fn batch(&self) -> i64 {
        self.batch
    }

    /// Rows of the batch, at most `size`; the same at each call until [`Self::done`].
    #[must_use]
    pub fn rows(&self, size: usize) -> &[(MeterKey, Sum)] {
        &self.rows[self.rows.len().saturating_sub(size)..]
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes new counts from the meter once all earlier ones are written.
    pub fn refill(&mut self, meter: &Meter) {
        if self.rows.is_empty() {
            self.rows = Vec::new();
            meter.drain(&mut self.rows);
        }
    }

    /// Ends the batch of `size` rows, which is written.
    pub fn done(&mut self, size: usize) {
        self.rows.truncate(self.rows.len().saturating_sub(size));
        self.batch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const MARCH: i32 = 26 * 12 + 2;

    fn meter(capacity: usize) -> (Meter, MeterKey) {
        let meter = Meter::new(capacity, Uuid::max());
        let endpoint = meter.endpoint("GET /things");
        let key = MeterKey {
            account: ADA,
            endpoint,
            status: 200,
            minute: 7,
        };
        (meter, key)
    }

    #[tokio::test]
    async fn counts_are_drained_once() {
        let (meter, key) = meter(100);
        assert_eq!(meter.endpoint("GET /things"), key.endpoint);
        assert_ne!(meter.endpoint("POST /things"), key.endpoint);
        assert_eq!(meter.names().get(key.endpoint), "GET /things");
        for millis in [2, 5, 1] {
            assert!(meter.record(key, Duration::from_millis(millis), None));
        }
        assert!(meter.record(MeterKey { minute: 8, ..key }, Duration::ZERO, None));
        assert_eq!(meter.waiting(), 2);

        let mut outgoing = meter.outgoing().await;
        outgoing.refill(&meter);
        assert_eq!((meter.waiting(), outgoing.len()), (0, 2));
        let sum = |rows: &[(MeterKey, Sum)]| rows.iter().find(|row| row.0 == key).map(|row| row.1);
        let expected = Sum {
            requests: 3,
            total: Duration::from_millis(8),
            longest: Duration::from_millis(5),
        };
        assert_eq!(sum(outgoing.rows(5)), Some(expected));
    }

    #[tokio::test]
    async fn a_batch_keeps_its_rows_and_its_number_until_it_is_done() {
        let (meter, key) = meter(100);
        for minute in 0..5 {
            assert!(meter.record(MeterKey { minute, ..key }, Duration::ZERO, None));
        }
        let mut outgoing = meter.outgoing().await;
        outgoing.refill(&meter);
        let first = outgoing.rows(2).to_vec();
        assert!(meter.record(key, Duration::ZERO, None));
        outgoing.refill(&meter);
        assert_eq!((outgoing.batch(), outgoing.rows(2)), (1, &first[..]));
        outgoing.done(2);
        assert_eq!((outgoing.batch(), outgoing.len()), (2, 3));
        assert!(outgoing.rows(2).iter().all(|row| !first.contains(row)));
        outgoing.done(2);
        outgoing.done(1);
        assert!(outgoing.is_empty());
        outgoing.refill(&meter);
        assert_eq!((outgoing.batch(), outgoing.len()), (4, 1));
    }

    #[test]
    fn beyond_the_capacity_existing_sums_grow_and_new_ones_are_rejected() {
        let (meter, key) = meter(1);
        assert!(meter.record(key, Duration::ZERO, Some(MARCH)));
        assert!(!meter.record(MeterKey { minute: 8, ..key }, Duration::ZERO, Some(MARCH)));
        assert!(meter.record(key, Duration::ZERO, Some(MARCH)));
        assert_eq!(
            meter.used(ADA, MARCH),
            2,
            "uncounted requests are not charged"
        );
    }

    #[test]
    fn usage_is_the_total_of_all_processes_and_the_pending_counts_of_this_one() {
        let (meter, key) = meter(100);
        assert_eq!(
            meter.used(ADA, MARCH),
            0,
            "unknown accounts have used nothing"
        );
        for _ in 0..3 {
            assert!(meter.record(key, Duration::ZERO, Some(MARCH)));
        }
        assert_eq!(meter.used(ADA, MARCH), 3);
        meter.settle(ADA, MARCH, 2, Some(50));
        assert_eq!(meter.used(ADA, MARCH), 51);
        meter.settle(ADA, MARCH, 1, None);
        assert_eq!(meter.used(ADA, MARCH), 51);
        assert_eq!(meter.used(ADA, MARCH + 1), 0, "a new period begins at 0");
        meter.settle(ADA, MARCH, 0, Some(99));
        assert!(meter.record(key, Duration::ZERO, Some(MARCH)));
        assert_eq!(meter.used(ADA, MARCH + 1), 0, "the old period is over");
    }

    #[test]
    fn rejected_accounts_are_kept_and_idle_ones_are_evicted() {
        let [rejected, idle] = [ADA, Uuid::from_u128(2)];
        let (meter, key) = meter(100);
        for account in [rejected, idle] {
            assert!(meter.record(MeterKey { account, ..key }, Duration::ZERO, Some(MARCH)));
            meter.settle(account, MARCH, 1, Some(10));
        }
        meter.mark_rejected(rejected, MARCH);
        meter.evict_idle(MARCH);
        assert_eq!(meter.used(idle, MARCH), 10, "it was recently used");
        for _ in 0..3 {
            meter.evict_idle(MARCH);
        }
        assert_eq!(meter.used(rejected, MARCH), 10);
        assert_eq!(meter.used(idle, MARCH), 0, "it is evicted");
        meter.evict_idle(MARCH + 1);
        meter.evict_idle(MARCH + 1);
        assert_eq!(meter.used(rejected, MARCH), 0);
    }
}
