//! Values in Redis. A miss leaves a lease, and a value is stored while its lease stands: an invalidation
//! deletes the lease, so that a value loaded before it is not stored after it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clock::Rng;
use redis::cmd;
use redis_client::{Redis, RedisError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// TTL of a lease.
const LEASE: Duration = Duration::from_secs(5);

/// Returns the value, or sets a lease where there is none.
const FIND: &str = "local held = redis.call('GET', KEYS[1])
if not held then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return held";

/// Replaces a lease by the value, if it still stands.
const STORE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 0";

pub(crate) enum Shared<V> {
    /// The value, and when it was loaded.
    Value {
        value: V,
        stored: DateTime<Utc>,
    },
    Leased(Lease),
    /// No reply, a lease of another replica, or a value that cannot be read.
    Unavailable,
}

/// Permission to store one value.
pub(crate) struct Lease {
    name: String,
    mark: String,
}

/// When a value was loaded, and the value.
type Dated<V> = (DateTime<Utc>, V);

/// JSON format of a family.
#[derive(Debug)]
pub(crate) struct Codec<V> {
    version: u32,
    encode: fn(DateTime<Utc>, &V) -> serde_json::Result<String>,
    decode: fn(&str) -> serde_json::Result<Dated<V>>,
}

impl<V> Codec<V> {
    pub(crate) const fn new(version: u32) -> Self
    where
        V: Serialize + DeserializeOwned,
    {
        Self {
            version,
            encode: |stored, value| serde_json::to_string(&(stored, value)),
            decode: |json| serde_json::from_str(json),
        }
    }

    pub(crate) const fn version(&self) -> u32 {
        self.version
    }
}

/// Redis key of a value.
pub(crate) fn key(text: &str) -> String {
    format!("cache:{text}")
}

pub(crate) async fn find<V>(redis: &Redis, codec: &Codec<V>, rng: &Rng, name: &str) -> Shared<V> {
    let name = key(name);
    // No JSON begins like this.
    let mark = format!("lease {:032x}", u128::from_be_bytes(rng.bytes()));
    let mut find = cmd("EVAL");
    find.arg(FIND).arg(1).arg(&name);
    find.arg(&mark).arg(millis(LEASE));
    let reply: Result<Option<String>, RedisError> = redis.query(&find).await;
    match reply {
        Ok(None) => Shared::Leased(Lease { name, mark }),
        Ok(Some(held)) => (codec.decode)(&held).map_or(Shared::Unavailable, |(stored, value)| {
            Shared::Value { value, stored }
        }),
        Err(_) => Shared::Unavailable,
    }
}

pub(crate) async fn store<V>(
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
    // A value that is not stored is loaded again.
    let _: Result<i64, RedisError> = redis.query(&store).await;
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
