//! Request counts by account, in memory until they are written. A request costs two map lookups.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Shards of the map, each with its own lock.
const SHARDS: usize = 16;

/// Interval at which idle accounts are evicted.
const EVICTION_INTERVAL: Duration = Duration::from_mins(10);

/// For the last flush, at shutdown.
const LAST_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Delay between attempts of the last flush.
const LAST_FLUSH_RETRY: Duration = Duration::from_millis(200);

/// Interned name of an operation ([`Meter::endpoint`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(u32);

/// Start of a minute since 1970.
pub fn time_of(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(minute * 60, 0).unwrap_or_default()
}

/// Minute since 1970 that contains `time`.
pub fn minute_of(time: DateTime<Utc>) -> i64 {
    time.timestamp().div_euclid(60)
}

/// What is summed up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeterKey {
    /// Whose request it was.
    pub account: Uuid,
    /// Operation.
    pub endpoint: Endpoint,
    /// Status code of the response.
    pub status: u16,
    /// In minutes since 1970.
    pub minute: i64,
}

/// Requests of one [`MeterKey`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Number of requests.
    pub requests: u64,
    /// Sum of their times.
    pub total: Duration,
    /// Maximum of their times.
    pub longest: Duration,
}

impl Sum {
    fn add(&mut self, took: Duration) {
        self.requests += 1;
        self.total += took;
        self.longest = self.longest.max(took);
    }
}

/// Usage meter of this process; clones share it.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// Maximum number of sums of a shard.
    capacity: usize,
    endpoints: RwLock<Vec<Arc<str>>>,
    outgoing: tokio::sync::Mutex<Outgoing>,
    /// Number of rows in `outgoing`.
    unwritten: AtomicUsize,
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
    /// Meter with about `capacity` sums. `writer` identifies this process to the store.
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
            unwritten: AtomicUsize::new(0),
        }))
    }

    /// Interns the name of an operation.
    pub fn endpoint(&self, name: &str) -> Endpoint {
        let mut known = (self.0.endpoints.write()).unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|it| **it == *name);
        let at = at.unwrap_or_else(|| {
            known.push(name.into());
            known.len() - 1
        });
        Endpoint(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// The interned names.
    pub fn names(&self) -> EndpointNames {
        let known = (self.0.endpoints.read()).unwrap_or_else(PoisonError::into_inner);
        EndpointNames(known.clone())
    }

    /// Counts a request; returns `false` if the capacity is exhausted. `period` is set for requests that are
    /// charged to a quota.
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

    /// Number of sums to be written.
    pub fn waiting(&self) -> usize {
        let shards = self.0.shards.iter();
        let counted: usize = shards.map(|shard| lock(shard).sums.len()).sum();
        counted + self.0.unwritten.load(Ordering::Relaxed)
    }

    /// Calls `flush` at each interval until `stop`, and then until it succeeds once more, for five seconds at most.
    /// Evicts idle accounts; `period` returns the current one.
    pub async fn run<F, E>(
        &self,
        every: Duration,
        stop: CancellationToken,
        period: impl Fn() -> i32,
        flush: impl Fn() -> F,
    ) where
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut evicted_at = Instant::now();
        let work = async {
            loop {
                ticks.tick().await;
                if let Err(error) = flush().await {
                    tracing::warn!(%error, "cannot write usage counts, trying again");
                }
                if evicted_at.elapsed() > EVICTION_INTERVAL {
                    evicted_at = Instant::now();
                    self.evict_idle(period());
                }
            }
        };
        // A batch that is interrupted is sent again under its number.
        stop.run_until_cancelled(work).await;
        let last = async {
            while let Err(error) = flush().await {
                tracing::warn!(%error, "cannot write the last usage counts, trying again");
                sleep(LAST_FLUSH_RETRY).await;
            }
        };
        if timeout(LAST_FLUSH_TIMEOUT, last).await.is_err() {
            tracing::error!("the last usage counts are lost");
        }
    }

    /// Writes everything that was counted before the call, in batches of `size` rows. After an error, or if the
    /// call is dropped, the next call sends the same batch. Counting does not wait for it.
    pub async fn flush<W, E>(&self, size: usize, write: impl Fn(Batch) -> W) -> Result<(), E>
    where
        W: Future<Output = Result<(), E>>,
    {
        let mut outgoing = self.0.outgoing.lock().await;
        // First the rest of an earlier flush, if there is any.
        let rounds = if outgoing.rows.is_empty() { 1 } else { 2 };
        for _ in 0..rounds {
            outgoing.refill(self);
            while !outgoing.rows.is_empty() {
                self.set_unwritten(&outgoing);
                write(outgoing.next_batch(size)).await?;
                outgoing.done(size);
            }
            self.set_unwritten(&outgoing);
        }
        Ok(())
    }

    fn set_unwritten(&self, outgoing: &Outgoing) {
        let rows = outgoing.rows.len();
        self.0.unwritten.store(rows, Ordering::Relaxed);
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

/// Names of interned operations.
#[derive(Clone, Debug)]
pub struct EndpointNames(Vec<Arc<str>>);

impl EndpointNames {
    /// Name of an operation; empty if it is unknown.
    pub fn get(&self, endpoint: Endpoint) -> &str {
        let at = usize::try_from(endpoint.0).unwrap_or(usize::MAX);
        self.0.get(at).map_or("", |name| name)
    }
}

/// Counts to be written. A batch is immutable until it is known to be written, so that sending it again is
/// idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The process, as given to [`Meter::new`].
    pub writer: Uuid,
    /// Number of the batch, which grows.
    pub number: i64,
    /// Each key once.
    pub rows: Vec<(MeterKey, Sum)>,
}

#[derive(Debug)]
struct Outgoing {
    writer: Uuid,
    batch: i64,
    rows: Vec<(MeterKey, Sum)>,
}

impl Outgoing {
    /// Batch of at most `size` rows; the same at each call until [`Self::done`].
    fn next_batch(&self, size: usize) -> Batch {
        Batch {
            writer: self.writer,
            number: self.batch,
            rows: self.rows[self.rows.len().saturating_sub(size)..].to_vec(),
        }
    }

    /// Takes new counts from the meter once all earlier ones are written.
    fn refill(&mut self, meter: &Meter) {
        if self.rows.is_empty() {
            self.rows = Vec::new();
            meter.drain(&mut self.rows);
        }
    }

    /// Ends the batch of `size` rows, which is written.
    fn done(&mut self, size: usize) {
        self.rows.truncate(self.rows.len().saturating_sub(size));
        self.batch += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

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

        let batches = batches(&meter, 5).await;
        assert_eq!((meter.waiting(), batches.len()), (0, 1));
        assert_eq!(batches[0].rows.len(), 2);
        let sum = batches[0].rows.iter().find(|row| row.0 == key);
        let expected = Sum {
            requests: 3,
            total: Duration::from_millis(8),
            longest: Duration::from_millis(5),
        };
        assert_eq!(sum.map(|row| row.1), Some(expected));
    }

    /// Batches of a flush that succeeds.
    async fn batches(meter: &Meter, size: usize) -> Vec<Batch> {
        let written = Mutex::new(Vec::new());
        let flushed = meter.flush(size, |batch| {
            written.lock().expect("it is free").push(batch);
            ready(Ok::<_, ()>(()))
        });
        flushed.await.expect("it is written");
        written.into_inner().expect("it is free")
    }

    #[tokio::test]
    async fn a_batch_keeps_its_rows_and_its_number_until_it_is_done() {
        let (meter, key) = meter(100);
        for minute in 0..5 {
            assert!(meter.record(MeterKey { minute, ..key }, Duration::ZERO, None));
        }
        let failed = Mutex::new(None);
        for _ in 0..2 {
            let flushed = meter.flush(2, |batch: Batch| {
                assert!(meter.record(key, Duration::ZERO, None));
                let earlier = failed.lock().expect("it is free").replace(batch.clone());
                assert_eq!(earlier.unwrap_or_else(|| batch.clone()), batch);
                ready(Err::<(), _>("unreachable"))
            });
            assert!(flushed.await.is_err());
        }
        assert_eq!(
            meter.waiting(),
            6,
            "five that are sent again, and a new one"
        );
        let failed = failed.into_inner().expect("it is free");
        let batches = batches(&meter, 2).await;
        let numbers: Vec<_> = batches
            .iter()
            .map(|it| (it.number, it.rows.len()))
            .collect();
        assert_eq!(numbers, [(1, 2), (2, 2), (3, 1), (4, 1)]);
        assert_eq!(Some(&batches[0]), failed.as_ref());
        assert!(
            batches[1]
                .rows
                .iter()
                .all(|row| !batches[0].rows.contains(row))
        );
        assert_eq!(meter.waiting(), 0);
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
