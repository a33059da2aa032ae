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
const EVICTION_INTERVAL: Duration = Duration::from_secs(30);

/// One limit that a request meets, the key it is counted by, and whether it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitCheck {
    pub(crate) limit: Limit,
    pub(crate) key: Key,
    pub(crate) spends: bool,
}

impl LimitCheck {
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
pub struct LimitState {
    /// The limit.
    pub limit: Limit,
    /// How much of it is used now.
    pub used: u32,
    /// When the oldest use is forgotten; the whole window when there is none.
    pub reset: Duration,
    /// When it allows again; `None` when it allowed.
    pub wait: Option<Duration>,
}

impl LimitState {
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
    pub states: Vec<LimitState>,
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
        self.states.iter().filter_map(|one| one.wait).max()
    }

    /// The limit that stands most in the way: that refuses for longest, else that has least left.
    #[must_use]
    pub fn tightest(&self) -> Option<&LimitState> {
        let by = |one: &&LimitState| (one.wait, std::cmp::Reverse(one.left()));
        self.states.iter().max_by_key(by)
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
    pub fn hashed_key(&self, text: &str) -> Key {
        let parts: [&[u8]; 2] = [b"limit key", text.as_bytes()];
        let mut hashes = self.0.secrets.sign_by_each(&parts);
        let first = hashes.next().unwrap_or_default();
        Key::hashed(&first, hashes.next().as_ref())
    }

    /// Like [`Limiter::check`], for limits that are never forgotten: whoever has spent the whole of
    /// one in this process is refused here, so that a flood costs Redis nothing.
    pub async fn check(&self, checks: &[LimitCheck]) -> Decision {
        if let Some(paired) = Paired::of(checks) {
            return paired.fold(self.reject_or_decide(&paired.checks).await);
        }
        self.reject_or_decide(checks).await
    }

    async fn reject_or_decide(&self, checks: &[LimitCheck]) -> Decision {
        match self.0.local.refuses(checks, self.local_now()) {
            Some(refused) if refused.retry_after() > Some(EDGE) => refused,
            _ => self.decide(checks).await,
        }
    }

    /// Decides about all limits at once: if every one allows, those that are to be spent are, and
    /// otherwise none is.
    pub async fn check_resettable(&self, checks: &[LimitCheck]) -> Decision {
        if let Some(paired) = Paired::of(checks) {
            return paired.fold(self.decide(&paired.checks).await);
        }
        self.decide(checks).await
    }

    async fn decide(&self, checks: &[LimitCheck]) -> Decision {
        match self.shared(checks, false).await {
            Some(decision) => {
                if decision.allows() {
                    self.0.local.record_allowed(checks, self.local_now());
                }
                decision
            }
            None => self.0.local.check(checks, self.local_now()),
        }
    }

    /// Spends in any case, to count what has happened; answers how the limits stand now.
    pub async fn record(&self, checks: &[LimitCheck]) -> Decision {
        if let Some(paired) = Paired::of(checks) {
            return paired.fold(self.record_each(&paired.checks).await);
        }
        self.record_each(checks).await
    }

    async fn record_each(&self, checks: &[LimitCheck]) -> Decision {
        let now = self.local_now();
        let counted = self.0.local.record(checks, now);
        self.shared(checks, true).await.unwrap_or(counted)
    }

    /// Forgets what was counted.
    pub async fn reset(&self, uses: &[(Limit, Key)]) {
        let split = |(limit, key): &(Limit, Key)| {
            let (first, second) = key.split();
            [Some(first), second]
                .into_iter()
                .flatten()
                .map(move |key| (*limit, key))
                .collect::<Vec<_>>()
        };
        let uses: Vec<_> = uses.iter().flat_map(split).collect();
        self.0.local.reset(&uses);
        if let Some(shared) = &self.0.shared {
            shared.reset(&uses).await;
        }
    }

    /// Drops what no longer counts, until `stop`; [`Limiter::check`] does so too, as it needs room.
    pub async fn evict_idle(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                tokio::time::sleep(EVICTION_INTERVAL).await;
                self.0.local.evict_idle(self.local_now());
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
    pub fn local_keys(&self) -> usize {
        self.0.local.len()
    }

    /// What Redis says; `None` without it.
    async fn shared(&self, checks: &[LimitCheck], forced: bool) -> Option<Decision> {
        match self.0.shared.as_ref()?.decide(checks, forced).await {
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
