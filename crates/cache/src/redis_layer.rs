//! What all replicas keep together. Whoever misses a value leaves a lease in its place and may store
//! the value as long as the lease stands: a value that is forgotten while it is read takes the lease
//! with it, and the old row is not stored after the news of its change.

use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::cmd;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::Rng;
use super::super::{Redis, RedisError};

/// How long a lease stands when the reader never comes back.
const LEASE: Duration = Duration::from_secs(5);

/// Answers what stands there, and leaves a lease where nothing does.
const FIND: &str = "local held = redis.call('GET', KEYS[1])
if not held then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return held";

/// Puts a value in the place of a lease that still stands.
const STORE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 0";

/// What Redis has.
pub(super) enum Held<V> {
    /// The value, and when it was read.
    Value { value: V, stored: DateTime<Utc> },
    /// Nothing: whoever asked may bring it.
    Leased(Lease),
    /// Nothing that can be used, or no answer.
    Unknown,
}

/// The right to store one value.
pub(super) struct Lease {
    name: String,
    mark: String,
}

/// A value, and when it was read.
type Dated<V> = (DateTime<Utc>, V);

/// How values are written.
#[derive(Debug)]
pub(super) struct Codec<V> {
    version: u32,
    encode: fn(DateTime<Utc>, &V) -> serde_json::Result<String>,
    decode: fn(&str) -> serde_json::Result<Dated<V>>,
}

impl<V> Codec<V> {
    pub(super) const fn new(version: u32) -> Self
    where
        V: Serialize + DeserializeOwned,
    {
        Self {
            version,
            encode: |stored, value| serde_json::to_string(&(stored, value)),
            decode: |json| serde_json::from_str(json),
        }
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }
}

/// The key that a value has in Redis.
pub(super) fn key(text: &str) -> String {
    format!("cache:{text}")
}

/// Looks a value up. No answer in time is nothing found.
pub(super) async fn find<V>(redis: &Redis, codec: &Codec<V>, rng: &Rng, name: &str) -> Held<V> {
    let name = key(name);
    // No value begins like this.
    let mark = format!("lease {:032x}", u128::from_be_bytes(rng.bytes()));
    let mut find = cmd("EVAL");
    find.arg(FIND).arg(1).arg(&name);
    find.arg(&mark).arg(millis(LEASE));
    let held: Result<Option<String>, RedisError> = redis.query(&find).await;
    match held {
        Ok(None) => Held::Leased(Lease { name, mark }),
        Ok(Some(held)) => (codec.decode)(&held).map_or(Held::Unknown, |(stored, value)| {
            Held::Value { value, stored }
        }),
        Err(_) => Held::Unknown,
    }
}

/// Stores a value under a lease, if it still stands.
pub(super) async fn store<V>(
    redis: &Redis,
    codec: &Codec<V>,
    lease: &Lease,
    value: &V,
    stored: DateTime<Utc>,
    ttl: Duration,
) {
    let Ok(json) = (codec.encode)(stored, value) else {
        return;
    };
    let mut store = cmd("EVAL");
    store.arg(STORE).arg(1).arg(&lease.name);
    store.arg(&lease.mark).arg(json).arg(millis(ttl));
    // A value that is not stored is read again.
    let _: Result<i64, RedisError> = redis.query(&store).await;
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
