//! How replicas tell each other what to forget: a numbered list in Redis that each of them reads
//! four times a second. A number that is missing, or a Redis that was away, means that something may
//! have gone unheard, and then everything is forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::cmd;

use super::super::{Redis, RedisError};
use super::redis_layer;

const LISTEN_EVERY: Duration = Duration::from_millis(250);

/// How long after the last news a replica may believe that it hears of everything.
const HEARD_FOR: Duration = Duration::from_secs(1);

/// How many news are kept for those who come late, and how many wait here to be told.
const KEPT: usize = 10_000;

/// The number of the newest entry, and the list.
const NUMBER: &str = "cache:changes:number";
const LIST: &str = "cache:changes";

/// Deletes a value and tells of it. Numbers start anew with the time when Redis has lost them, and
/// so never again at one that was given before.
const TELL: &str = "redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SET', KEYS[2], redis.call('TIME')[1] .. '000') end
local number = string.format('%.0f', redis.call('INCR', KEYS[2]))
redis.call('ZADD', KEYS[3], number, number .. ' ' .. ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[2])
redis.call('EXPIRE', KEYS[2], 86400)
redis.call('EXPIRE', KEYS[3], 86400)
return 0";

/// Answers the newest number and what was told after the one that is given.
const LISTEN: &str = "return {redis.call('GET', KEYS[1]) or '0', redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf')}";

/// What to forget.
#[derive(Clone, Copy)]
pub(super) enum News<'a> {
    /// The value of this name.
    One(&'a str),
    /// All there is.
    Everything,
}

pub(super) struct Feed {
    started: Instant,
    /// When news were last heard, in milliseconds since the start; nought is never.
    heard_at: AtomicU64,
    untold: Mutex<Untold>,
}

/// What is still to be told, each under the number of the last time it was wanted.
#[derive(Default)]
struct Untold {
    names: HashMap<String, u64>,
    next_number: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            heard_at: AtomicU64::new(0),
            untold: Mutex::default(),
        }
    }
}

impl Feed {
    /// Whether this replica would know by now what others have forgotten.
    pub(super) fn is_heard(&self) -> bool {
        let at = Duration::from_millis(self.heard_at.load(Ordering::Relaxed));
        !at.is_zero() && self.started.elapsed().saturating_sub(at) < HEARD_FOR
    }

    fn set_heard(&self, at: Instant) {
        let at = at.saturating_duration_since(self.started).as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX).max(1);
        self.heard_at.store(at, Ordering::Relaxed);
    }

    /// Deletes a value in Redis and tells the other replicas. What cannot be told now, because
    /// Redis is away or the caller is dropped, is told by [`Feed::listen`].
    pub(super) async fn tell(&self, redis: &Redis, name: String) {
        let Some(number) = self.note(&name) else {
            return;
        };
        self.tell_again(redis, name, number).await;
    }

    fn note(&self, name: &str) -> Option<u64> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        if untold.names.len() >= KEPT {
            return None; // Redis has been away for long: what is in it runs out.
        }
        untold.next_number += 1;
        let number = untold.next_number;
        untold.names.insert(name.to_owned(), number);
        Some(number)
    }

    async fn tell_again(&self, redis: &Redis, name: String, number: u64) -> bool {
        let mut tell = cmd("EVAL");
        tell.arg(TELL).arg(3);
        tell.arg(redis_layer::key(&name)).arg(NUMBER).arg(LIST);
        tell.arg(&name).arg(KEPT);
        let told: Result<i64, RedisError> = redis.query(&tell).await;
        if told.is_err() {
            return false;
        }
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have changed once more while it was told.
        if untold.names.get(&name) == Some(&number) {
            untold.names.remove(&name);
        }
        true
    }

    /// Tells and listens, for ever.
    pub(super) async fn listen(&self, redis: &Redis, heed: impl Fn(News<'_>)) {
        let mut last = None;
        loop {
            let began = Instant::now();
            last = match listen_once(redis, last, &heed).await {
                Ok(newest) => {
                    self.set_heard(began);
                    self.tell_rest(redis).await;
                    Some(newest)
                }
                Err(_) => None,
            };
            tokio::time::sleep(LISTEN_EVERY).await;
        }
    }

    async fn tell_rest(&self, redis: &Redis) {
        let untold: Vec<_> = {
            let untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
            let names = untold.names.iter();
            names
                .map(|(name, number)| (name.clone(), *number))
                .collect()
        };
        for (name, number) in untold {
            if !self.tell_again(redis, name, number).await {
                return;
            }
        }
    }
}

/// Heeds what was told after `last`; answers the newest number.
async fn listen_once(
    redis: &Redis,
    last: Option<i64>,
    heed: impl Fn(News<'_>),
) -> Result<i64, RedisError> {
    let mut listen = cmd("EVAL");
    listen.arg(LISTEN).arg(2).arg(NUMBER).arg(LIST);
    listen.arg(last.unwrap_or(i64::MAX));
    let (newest, news): (i64, Vec<String>) = redis.query(&listen).await?;
    let is_whole = last.and_then(|last| usize::try_from(newest - last).ok()) == Some(news.len());
    if is_whole {
        for entry in &news {
            heed(News::One(
                entry.split_once(' ').map_or("", |(_, name)| name),
            ));
        }
    } else {
        heed(News::Everything);
    }
    Ok(newest)
}
