//! The rate limiter: counts shared through Redis, and counts of this process beside them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clock::Clock;
use crypto::{Key32, MacRing};
use redis_client::{Redis, RedisError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::deferred::{Triage, Uses};
use crate::local::Local;
use crate::metrics::Kept;
use crate::paired::Paired;
use crate::replicas::{self, Registration, Replicas};
use crate::shared::Shared;
use crate::{Key, Limit, metrics};

/// Local counts are later than those in Redis by its response time. So close to the end of a wait Redis
/// decides, so that a client that came back in time is not rejected.
const LOCAL_PRECISION: Duration = Duration::from_secs(1);

const EVICTION_INTERVAL: Duration = Duration::from_secs(30);

/// Time for which uses are deferred.
const DEFERRED_FOR: Duration = Duration::from_millis(100);

/// A limit, the key that it is counted by, and whether the check spends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitCheck {
    pub(crate) limit: Limit,
    pub(crate) key: Key,
    pub(crate) spends: bool,
}

impl LimitCheck {
    /// Spends one, if all limits of the decision allow.
    #[must_use]
    pub const fn spend(limit: Limit, key: Key) -> Self {
        Self {
            limit,
            key,
            spends: true,
        }
    }

    /// Spends nothing.
    #[must_use]
    pub const fn peek(limit: Limit, key: Key) -> Self {
        Self {
            limit,
            key,
            spends: false,
        }
    }
}

/// State of a limit for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitState {
    /// Name and rate.
    pub limit: Limit,
    /// Uses in the current window.
    pub used: u32,
    /// Time until the oldest use expires; the whole window without one.
    pub reset: Duration,
    /// Time until it allows again; `None` if it allowed.
    pub wait: Option<Duration>,
}

impl LimitState {
    /// Uses left.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.limit.max().saturating_sub(self.used)
    }
}

/// All limits allow, or nothing was spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// In the order of the checks.
    pub states: Vec<LimitState>,
}

impl Decision {
    /// Returns whether every limit allows.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.retry_after().is_none()
    }

    /// Time until all of them allow again; `None` if they do.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.states.iter().filter_map(|one| one.wait).max()
    }

    /// The limit with the longest wait, otherwise the one with the fewest uses left.
    #[must_use]
    pub fn tightest(&self) -> Option<&LimitState> {
        let by = |one: &&LimitState| (one.wait, std::cmp::Reverse(one.left()));
        self.states.iter().max_by_key(by)
    }
}

/// The rate limiter of a process; clones share its counts.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    shared: Option<Shared>,
    local: Local,
    replicas: Replicas,
    /// A use was deferred.
    has_deferred: Notify,
    clock: Clock,
    started: Instant,
    secrets: MacRing,
    is_local: AtomicBool,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    /// A limiter that counts in `redis`, or in this process without it. `secrets` key the hashes of
    /// [`Limiter::hashed_key`].
    #[must_use]
    pub fn new(redis: Option<Redis>, clock: Clock, secrets: &[Key32]) -> Self {
        Self(Arc::new(Inner {
            is_local: AtomicBool::new(redis.is_none()),
            shared: redis.map(|redis| Shared::new(redis, &clock)),
            local: Local::default(),
            replicas: Replicas::default(),
            has_deferred: Notify::new(),
            clock,
            started: Instant::now(),
            secrets: MacRing::new(secrets),
        }))
    }

    /// Keyed hash of a text that must not be readable in Redis, such as an email address.
    ///
    /// During a rotation of the secrets it is counted under the first two, so that neither the first replica
    /// with a new first key nor the last one without the old key starts from zero.
    #[must_use]
    pub fn hashed_key(&self, text: &str) -> Key {
        let parts: [&[u8]; 2] = [b"limit key", text.as_bytes()];
        let mut hashes = self.0.secrets.sign_by_each(&parts);
        let first = hashes.next().unwrap_or_default();
        Key::hashed(&first, hashes.next().as_ref())
    }

    /// Decides about all limits at once: if every one allows, those that are to be spent are, and otherwise
    /// none is. A key that has used up a limit in this process is rejected without asking Redis, so that a
    /// flood costs it nothing.
    pub async fn check(&self, checks: &[LimitCheck]) -> Decision {
        if let Some(paired) = Paired::of(checks) {
            return paired.fold(self.reject_or_decide(&paired.checks).await);
        }
        self.reject_or_decide(checks).await
    }

    async fn reject_or_decide(&self, checks: &[LimitCheck]) -> Decision {
        let replicas = self.0.replicas.count().filter(|_| self.is_shared());
        match self.0.local.triage(checks, replicas, self.local_now()) {
            Triage::Deferred(decision) => {
                metrics::count_check(Kept::Deferred);
                self.0.has_deferred.notify_one();
                decision
            }
            Triage::Rejected(refused) if refused.retry_after() > Some(LOCAL_PRECISION) => refused,
            Triage::Rejected(_) => self.decide(checks).await,
            Triage::Undecided(uses) if uses.is_empty() => self.decide(checks).await,
            Triage::Undecided(uses) => {
                // Its own uses come first, so that the decision includes them.
                drop(self.send(uses.into_vec()));
                self.decide(checks).await
            }
        }
    }

    /// [`Limiter::check`] for limits that are [`reset`](Self::reset): another replica may have reset what
    /// is used up in this process.
    pub async fn check_resettable(&self, checks: &[LimitCheck]) -> Decision {
        if let Some(paired) = Paired::of(checks) {
            return paired.fold(self.decide(&paired.checks).await);
        }
        self.decide(checks).await
    }

    async fn decide(&self, checks: &[LimitCheck]) -> Decision {
        match self.shared(checks, false).await {
            Some(decision) => {
                let now = self.local_now();
                if decision.allows() {
                    self.0.local.record_allowed(checks, now);
                }
                self.0.local.learn(checks, &decision, now);
                decision
            }
            None => self.0.local.check(checks, self.local_now()),
        }
    }

    /// Spends unconditionally, to count what has happened.
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

    /// Removes the counts of these limits and keys.
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

    /// Counts limits that are [`Limit::deferred`] in this process first: registers it among the processes that count
    /// together, and sends deferred uses to Redis 100 ms after the first. `id` is unique to the process. At `stop` nothing is
    /// deferred any more, and what is pending is sent.
    pub async fn count_deferred(self, id: String, stop: CancellationToken) {
        let Some(redis) = self.0.shared.as_ref().map(Shared::redis) else {
            return;
        };
        let mut registration = Registration::new(id, redis.clone());
        let renewals = async {
            loop {
                // Without it each use is counted in Redis at once.
                if let Err(error) = registration.renew(&self.0.replicas).await {
                    tracing::debug!(%error, "this process could not register for deferred counting");
                }
                tokio::time::sleep(replicas::INTERVAL).await;
            }
        };
        let sends = async {
            loop {
                self.0.has_deferred.notified().await;
                tokio::time::sleep(DEFERRED_FOR).await;
                self.send_deferred().await;
            }
        };
        stop.run_until_cancelled(async { tokio::join!(renewals, sends) })
            .await;
        self.0.replicas.end();
        self.send_deferred().await;
        // Otherwise it expires.
        let _ = registration.end().await;
    }

    /// Sends all deferred uses to Redis.
    async fn send_deferred(&self) {
        let sent = self.send(self.0.local.take_all());
        // It does not panic.
        let _ = sent.await;
    }

    /// Sends uses to Redis, in a task: a request that is dropped must not make room for more. Uses that cannot be counted are
    /// dropped, so that none is counted twice.
    fn send(&self, uses: Vec<Uses>) -> JoinHandle<()> {
        let shared = self.0.shared.as_ref();
        let replies = shared.map(|shared| shared.record(&uses, self.local_now()));
        let limiter = self.clone();
        tokio::spawn(async move {
            let local = &limiter.0.local;
            for (uses, reply) in uses.iter().zip(replies.into_iter().flatten()) {
                match reply.await {
                    Ok(Ok(decision)) => {
                        let check = LimitCheck::spend(uses.limit, uses.key);
                        local.learn(&[check], &decision, limiter.local_now());
                    }
                    Ok(Err(error)) => limiter.set_mode(Some(&error)),
                    Err(_) => {}
                }
                local.settle(uses);
            }
        })
    }

    /// Evicts idle keys of this process every 30 s, until `stop`. Checks do so too when they need room.
    pub async fn evict_idle(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                tokio::time::sleep(EVICTION_INTERVAL).await;
                self.0.local.evict_idle(self.local_now());
            }
        })
        .await;
    }

    /// Returns whether all replicas count together.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.0.is_local.load(Ordering::Relaxed)
    }

    /// Returns whether limits that are [`Limit::deferred`] are counted in this process first.
    #[must_use]
    pub fn is_deferring(&self) -> bool {
        self.is_shared() && self.0.replicas.count().is_some()
    }

    /// Health check: runs the script and spends nothing. The error is why each process counts alone, such as
    /// a Redis user without the right to run scripts.
    pub async fn probe(&self) -> Result<(), RedisError> {
        match &self.0.shared {
            Some(shared) => shared.probe().await,
            None => Ok(()),
        }
    }

    /// Number of keys counted in this process.
    #[must_use]
    pub fn local_keys(&self) -> usize {
        self.0.local.len()
    }

    /// Decision by Redis; `None` without it.
    async fn shared(&self, checks: &[LimitCheck], unconditional: bool) -> Option<Decision> {
        match self.0.shared.as_ref()?.decide(checks, unconditional).await {
            Ok(decision) => {
                metrics::count_check(Kept::InRedis);
                self.set_mode(None);
                Some(decision)
            }
            Err(error) => {
                metrics::count_check(Kept::InProcess);
                self.set_mode(Some(&error));
                None
            }
        }
    }

    fn set_mode(&self, failure: Option<&RedisError>) {
        let is_local = failure.is_some();
        // Read first, since every request passes here.
        if self.0.is_local.load(Ordering::Relaxed) == is_local
            || self.0.is_local.swap(is_local, Ordering::Relaxed) == is_local
        {
            return;
        }
        if let Some(error) = failure {
            tracing::warn!(%error, "rate limiter: Redis unavailable, counting per process");
        } else {
            tracing::info!("rate limiter: counting in Redis");
        }
    }

    /// Monotonic microseconds, unless the clock is fixed.
    fn local_now(&self) -> u64 {
        let micros = match self.0.clock.fixed_now() {
            Some(fixed) => u64::try_from(fixed.timestamp_micros()).ok(),
            None => u64::try_from(self.0.started.elapsed().as_micros()).ok(),
        };
        micros.unwrap_or_default()
    }
}
