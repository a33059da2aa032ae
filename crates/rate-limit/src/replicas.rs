//! Number of processes that count together. Each registers itself in Redis, so that deferred uses can be divided among them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis_client::{Redis, RedisError};

/// Sorted set of the processes, by the time at which their registration expires.
const KEY: &str = "limit:replicas";

const SCRIPT: &str = include_str!("replicas.lua");

/// Time between two registrations.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Age of the last registration from which a process defers nothing. A new one waits as long, so that by then each of the
/// others has learned of it, or defers nothing.
const LEASE: Duration = Duration::from_secs(3);

/// A process that was killed is counted for so long.
const EXPIRY: Duration = Duration::from_secs(10);

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Default)]
pub(crate) struct Replicas {
    count: AtomicU32,
    /// Milliseconds since [`STARTED`] at which the lease ends.
    until: AtomicU64,
}

impl Replicas {
    /// Number of processes; `None` while this one may not defer.
    pub(crate) fn count(&self) -> Option<u32> {
        let count = self.count.load(Ordering::Relaxed);
        (count > 0 && elapsed() < self.until.load(Ordering::Relaxed)).then_some(count)
    }

    /// Ends the lease.
    pub(crate) fn end(&self) {
        self.count.store(0, Ordering::Relaxed);
    }
}

fn elapsed() -> u64 {
    u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The registration of this process.
pub(crate) struct Registration {
    id: String,
    redis: Redis,
    /// When its unbroken registrations began.
    since: Option<Instant>,
    /// Since when Redis counts fewer processes: it may have lost some that are still there.
    fewer_since: Option<Instant>,
}

impl Registration {
    pub(crate) const fn new(id: String, redis: Redis) -> Self {
        Self {
            id,
            redis,
            since: None,
            fewer_since: None,
        }
    }

    /// Registers this process, and stores the number of processes once each of them has learned of this one.
    pub(crate) async fn renew(&mut self, replicas: &Replicas) -> Result<(), RedisError> {
        let began = elapsed();
        let before = replicas.count.load(Ordering::Relaxed);
        if before > 0 && replicas.count().is_none() {
            // The registration may have expired.
            replicas.end();
            self.since = None;
        }
        let count = self.call(EXPIRY).await?.max(1);
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() <= LEASE {
            return Ok(());
        }
        let lease = u64::try_from(LEASE.as_millis()).unwrap_or_default();
        replicas.until.store(began + lease, Ordering::Relaxed);
        if count >= before {
            self.fewer_since = None;
        } else if self.fewer_since.get_or_insert_with(Instant::now).elapsed() <= LEASE {
            return Ok(());
        }
        replicas.count.store(count, Ordering::Relaxed);
        Ok(())
    }

    /// Removes this process.
    pub(crate) async fn end(&self) -> Result<(), RedisError> {
        self.call(Duration::ZERO).await.map(drop)
    }

    async fn call(&self, expiry: Duration) -> Result<u32, RedisError> {
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(1).arg(KEY).arg(&self.id);
        command.arg(u64::try_from(expiry.as_millis()).unwrap_or_default());
        self.redis.query(&command).await
    }
}
