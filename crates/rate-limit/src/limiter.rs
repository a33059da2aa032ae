//! Counts who did what how often, and decides whether once more is too often.
//!
//! A sliding window, kept exactly: the times of what was let through, newest last. Redis keeps
//! them for all replicas, by one script and in one round trip for all limits of a request. Each
//! process keeps its own part besides, which holds the same limits while Redis is gone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clock::Clock;
use crypto::{Key32, MacRing};
use redis_client::{Redis, RedisError};
use tokio_util::sync::CancellationToken;

use crate::local::Local;
use crate::paired::Paired;
use crate::shared::Shared;
use crate::{Key, Limit, metrics};

/// The counts of this process are later than those in Redis by the time that it took to answer.
/// So close to the end of a wait it is asked, lest somebody who came back in time is refused.
const EDGE: Duration = Duration::from_secs(1);

/// How often what no longer counts is dropped.
const TIDY_EVERY: Duration = Duration::from_secs(30);

/// One limit that a request meets, the key it is counted by, and whether it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    pub(crate) limit: Limit,
    pub(crate) key: Key,
    pub(crate) spends: bool,
}

impl Ask {
    /// Spends one of the limit, if it allows.
    #[must_use]
    pub const fn spend(limit: Limit, key: Key) -> Self {
        Self {
            limit,
            key,
            spends: true,
        }
    }

    /// Asks whether the limit allows, and leaves it as it is.
    #[must_use]
    pub const fn peek(limit: Limit, key: Key) -> Self {
        Self {
            limit,
            key,
            spends: false,
        }
    }
}

/// How one limit stands for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// How much of it is used now.
    pub used: u32,
    /// When the oldest use is forgotten; the whole window when there is none.
    pub reset: Duration,
    /// When it allows again; `None` when it allowed.
    pub wait: Option<Duration>,
}

impl Standing {
    /// How much of the limit is left.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.limit.max().saturating_sub(self.used)
    }
}

/// What was decided: all limits allow, or nothing was spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How each limit stands, in the order they were asked.
    pub standings: Vec<Standing>,
}

impl Decision {
    /// Whether every limit allows.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.retry_after().is_none()
    }

    /// When all of them allow again; `None` when they do.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.standings.iter().filter_map(|one| one.wait).max()
    }

    /// The limit that stands most in the way: that refuses for longest, else that has least left.
    #[must_use]
    pub fn tightest(&self) -> Option<&Standing> {
        let by = |one: &&Standing| (one.wait, std::cmp::Reverse(one.left()));
        self.standings.iter().max_by_key(by)
    }
}

/// Keeps the limits; a clone is another handle on the same counts.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    shared: Option<Shared>,
    local: Local,
    clock: Clock,
    started: Instant,
    secrets: MacRing,
    alone: AtomicBool,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    /// A limiter that counts in `redis`, where there is one; `secrets` hide what keys are made of.
    #[must_use]
    pub fn new(redis: Option<Redis>, clock: Clock, secrets: &[Key32]) -> Self {
        Self(Arc::new(Inner {
            alone: AtomicBool::new(redis.is_none()),
            shared: redis.map(|redis| Shared::new(redis, clock.clone())),
            local: Local::default(),
            clock,
            started: Instant::now(),
            secrets: MacRing::new(secrets),
        }))
    }

    /// The key of something that must not be read in Redis, such as an address: a keyed hash of it.
    ///
    /// While the ring of secrets is changed it is counted under the first two, so that neither the
    /// first replica with another first key nor the last one without the old key starts from zero.
    #[must_use]
    pub fn hidden_key(&self, text: &str) -> Key {
        let parts: [&[u8]; 2] = [b"limit key", text.as_bytes()];
        let mut hashes = self.0.secrets.sign_by_each(&parts);
        let first = hashes.next().unwrap_or_default();
        Key::hidden(&first, hashes.next().as_ref())
    }

    /// Like [`Limiter::check`], for limits that are never forgotten: whoever has spent the whole of
    /// one in this process is refused here, so that a flood costs Redis nothing.
    pub async fn admit(&self, asks: &[Ask]) -> Decision {
        if let Some(paired) = Paired::of(asks) {
            return paired.fold(self.admit_each(&paired.asks).await);
        }
        self.admit_each(asks).await
    }

    async fn admit_each(&self, asks: &[Ask]) -> Decision {
        match self.0.local.refuses(asks, self.local_now()) {
            Some(refused) if refused.retry_after() > Some(EDGE) => refused,
            _ => self.check_each(asks).await,
        }
    }

    /// Decides about all limits at once: if every one allows, those that are to be spent are, and
    /// otherwise none is.
    pub async fn check(&self, asks: &[Ask]) -> Decision {
        if let Some(paired) = Paired::of(asks) {
            return paired.fold(self.check_each(&paired.asks).await);
        }
        self.check_each(asks).await
    }

    async fn check_each(&self, asks: &[Ask]) -> Decision {
        match self.shared(asks, false).await {
            Some(decision) => {
                if decision.allows() {
                    self.0.local.note(asks, self.local_now());
                }
                decision
            }
            None => self.0.local.check(asks, self.local_now()),
        }
    }

    /// Spends in any case, to count what has happened; answers how the limits stand now.
    pub async fn count(&self, asks: &[Ask]) -> Decision {
        if let Some(paired) = Paired::of(asks) {
            return paired.fold(self.count_each(&paired.asks).await);
        }
        self.count_each(asks).await
    }

    async fn count_each(&self, asks: &[Ask]) -> Decision {
        let now = self.local_now();
        let counted = self.0.local.count(asks, now);
        self.shared(asks, true).await.unwrap_or(counted)
    }

    /// Forgets what was counted.
    pub async fn forget(&self, uses: &[(Limit, Key)]) {
        let split = |(limit, key): &(Limit, Key)| {
            let (first, second) = key.split();
            [Some(first), second]
                .into_iter()
                .flatten()
                .map(move |key| (*limit, key))
                .collect::<Vec<_>>()
        };
        let uses: Vec<_> = uses.iter().flat_map(split).collect();
        self.0.local.forget(&uses);
        if let Some(shared) = &self.0.shared {
            shared.forget(&uses).await;
        }
    }

    /// Drops what no longer counts, until `stop`; [`Limiter::check`] does so too, as it needs room.
    pub async fn tidy(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                self.0.local.tidy(self.local_now());
            }
        })
        .await;
    }

    /// Whether all replicas count together.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.0.alone.load(Ordering::Relaxed)
    }

    /// Runs the script that all replicas count by, and spends nothing. An error says why each process
    /// counts alone, such as a Redis user without the right to run scripts.
    pub async fn probe(&self) -> Result<(), RedisError> {
        match &self.0.shared {
            Some(shared) => shared.probe().await,
            None => Ok(()),
        }
    }

    /// How many keys the process keeps itself.
    #[must_use]
    pub fn kept_here(&self) -> usize {
        self.0.local.len()
    }

    /// What Redis says; `None` without it.
    async fn shared(&self, asks: &[Ask], forced: bool) -> Option<Decision> {
        match self.0.shared.as_ref()?.decide(asks, forced).await {
            Ok(decision) => {
                self.note_mode(None);
                Some(decision)
            }
            Err(error) => {
                self.note_mode(Some(&error));
                None
            }
        }
    }

    fn note_mode(&self, failure: Option<&RedisError>) {
        let alone = failure.is_some();
        metrics::count_check(!alone);
        // Read first, since every request passes here.
        if self.0.alone.load(Ordering::Relaxed) == alone
            || self.0.alone.swap(alone, Ordering::Relaxed) == alone
        {
            return;
        }
        if let Some(error) = failure {
            tracing::warn!(%error, "limits are kept by each process alone");
        } else {
            tracing::info!("limits are kept by all processes together");
        }
    }

    /// Microseconds on a clock that never goes back, unless the clock is a test's.
    fn local_now(&self) -> u64 {
        let micros = match self.0.clock.fixed_now() {
            Some(fixed) => u64::try_from(fixed.timestamp_micros()).ok(),
            None => u64::try_from(self.0.started.elapsed().as_micros()).ok(),
        };
        micros.unwrap_or_default()
    }
}
