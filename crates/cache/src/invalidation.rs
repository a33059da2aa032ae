//! Invalidations between replicas: a numbered list in Redis that each of them polls four times a second. A gap
//! in the numbers, or an outage of Redis, means that one may be lost, and then everything is invalidated.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::cmd;
use redis_client::{Redis, RedisError};

use crate::redis_layer;

const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Time since the last poll after which invalidations may be missing.
const POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// Invalidations in the list for replicas that are late, and unpublished ones in this process.
const MAX_LISTED: usize = 10_000;

/// Key of the number of the newest entry, and of the list.
const LIST: [&str; 2] = ["cache:changes:number", "cache:changes"];

/// As [`LIST`], in one hash slot of a cluster.
const LIST_IN_CLUSTER: [&str; 2] = ["{cache:changes}:number", "{cache:changes}"];

/// Lists an invalidation. After a loss of data in Redis numbers start at the time, so that none is given twice.
const PUBLISH: &str = "if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], redis.call('TIME')[1] .. '000') end
local number = string.format('%.0f', redis.call('INCR', KEYS[1]))
redis.call('ZADD', KEYS[2], number, number .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[2])
redis.call('EXPIRE', KEYS[1], 86400)
redis.call('EXPIRE', KEYS[2], 86400)
return 0";

/// Returns the newest number and what follows the given one.
const POLL: &str = "return {redis.call('GET', KEYS[1]) or '0', redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf')}";

#[derive(Clone, Copy)]
pub(crate) enum Invalidation<'a> {
    /// The entry of this name.
    One(&'a str),
    All,
}

pub(crate) struct Invalidations {
    started: Instant,
    /// Last successful poll in milliseconds since the start; 0 is never.
    polled_at: AtomicU64,
    unpublished: Mutex<Unpublished>,
}

/// Names that are still to be published, each with the number of its latest invalidation.
#[derive(Default)]
struct Unpublished {
    names: HashMap<String, u64>,
    next_number: u64,
}

impl Default for Invalidations {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            polled_at: AtomicU64::new(0),
            unpublished: Mutex::default(),
        }
    }
}

impl Invalidations {
    pub(crate) fn arrive(&self) -> bool {
        let at = Duration::from_millis(self.polled_at.load(Ordering::Relaxed));
        !at.is_zero() && self.started.elapsed().saturating_sub(at) < POLL_TIMEOUT
    }

    fn set_polled(&self, at: Instant) {
        let at = at.saturating_duration_since(self.started).as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX).max(1);
        self.polled_at.store(at, Ordering::Relaxed);
    }

    /// Deletes a value in Redis and publishes the invalidation. [`Invalidations::listen`] retries what fails
    /// now, and what is left by a caller that is dropped.
    pub(crate) async fn publish(&self, redis: &Redis, name: String) {
        let Some(number) = self.enqueue(&name) else {
            return;
        };
        self.try_publish(redis, name, number).await;
    }

    fn enqueue(&self, name: &str) -> Option<u64> {
        let mut unpublished = self
            .unpublished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if unpublished.names.len() >= MAX_LISTED {
            return None; // After such an outage the entries in Redis have expired.
        }
        unpublished.next_number += 1;
        let number = unpublished.next_number;
        unpublished.names.insert(name.to_owned(), number);
        Some(number)
    }

    async fn try_publish(&self, redis: &Redis, name: String, number: u64) -> bool {
        // The value first: a replica that is notified must not find it. It may be on another node of a cluster.
        let mut delete = cmd("DEL");
        delete.arg(redis_layer::key(&name));
        let mut publish = cmd("EVAL");
        publish.arg(PUBLISH).arg(2).arg(&list_of(redis));
        publish.arg(&name).arg(MAX_LISTED);
        let deleted: Result<i64, RedisError> = redis.query(&delete).await;
        if deleted.is_err() || redis.query::<i64>(&publish).await.is_err() {
            return false;
        }
        let mut unpublished = self
            .unpublished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // It may have been invalidated once more meanwhile.
        if unpublished.names.get(&name) == Some(&number) {
            unpublished.names.remove(&name);
        }
        true
    }

    /// Publishes and polls, forever.
    pub(crate) async fn listen(&self, redis: &Redis, apply: impl Fn(Invalidation<'_>)) {
        let mut last = None;
        loop {
            let began = Instant::now();
            last = match poll(redis, last, &apply).await {
                Ok(newest) => {
                    self.set_polled(began);
                    self.publish_rest(redis).await;
                    Some(newest)
                }
                Err(_) => None,
            };
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn publish_rest(&self, redis: &Redis) {
        let unpublished: Vec<_> = {
            let unpublished = self
                .unpublished
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let names = unpublished.names.iter();
            names
                .map(|(name, number)| (name.clone(), *number))
                .collect()
        };
        for (name, number) in unpublished {
            if !self.try_publish(redis, name, number).await {
                return;
            }
        }
    }
}

fn list_of(redis: &Redis) -> [&'static str; 2] {
    if redis.is_cluster() {
        LIST_IN_CLUSTER
    } else {
        LIST
    }
}

/// Applies what was published after `last` and returns the newest number.
async fn poll(
    redis: &Redis,
    last: Option<i64>,
    apply: impl Fn(Invalidation<'_>),
) -> Result<i64, RedisError> {
    let mut command = cmd("EVAL");
    command.arg(POLL).arg(2).arg(&list_of(redis));
    command.arg(last.unwrap_or(i64::MAX));
    let (newest, entries): (i64, Vec<String>) = redis.query(&command).await?;
    let is_complete =
        last.and_then(|last| usize::try_from(newest - last).ok()) == Some(entries.len());
    if is_complete {
        for entry in &entries {
            apply(Invalidation::One(
                entry.split_once(' ').map_or("", |(_, name)| name),
            ));
        }
    } else {
        apply(Invalidation::All);
    }
    Ok(newest)
}
