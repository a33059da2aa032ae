//! What was read before, kept for a while: in the process, and in Redis for the other replicas.
//!
//! - Of any number that want the same thing at once one reads it (`memory`). All of them share its
//!   error; one that goes away leaves the read to the others.
//! - What is forgotten here is forgotten at once, in Redis with it, and by the other replicas within
//!   a second (`feed`). A read that began before is answered to whoever waits for it and kept
//!   nowhere, so that an old row cannot come back after the news of its change.
//! - Redis may go at any time: then it is as if everything were missing from it, and a replica
//!   believes what it kept itself for two seconds, as nobody tells it any more what has changed.
//!
//! Nothing secret belongs here, and what is read back is believed: whoever writes to Redis could
//! write what it likes.

#[path = "invalidation.rs"]
mod feed;
mod memory;
mod redis_layer;

use std::any::Any;
use std::fmt::Display;
use std::hash::Hash;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use self::feed::Feed;
use self::memory::{Found, Memory, Ticket};
use self::redis_layer::{Codec, Held};
use super::{Clock, Redis, Rng};
use crate::metrics::{self, CacheFamily, CacheLookup};

/// How long a replica believes what it keeps while it cannot hear of changes.
const DEAF_TTL: Duration = Duration::from_secs(2);

/// What is cached could not be had. Whoever waited for the same read has the same error.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The database failed.
    #[error(transparent)]
    Database(Arc<sqlx::Error>),
    /// It could not be written as JSON.
    #[error(transparent)]
    Json(Arc<serde_json::Error>),
}

impl From<sqlx::Error> for LoadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<serde_json::Error> for LoadError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}

/// What a value is found by.
pub trait Key: Clone + Eq + Hash + Display + FromStr + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Display + FromStr + Send + Sync + 'static> Key for K {}

/// A kind of values: how they are named, for how long they are good and how many are kept.
#[derive(Debug)]
pub struct Family<K, V> {
    name: CacheFamily,
    ttl: Duration,
    capacity: usize,
    /// How values of this family are written in Redis, where they are.
    shared: Option<Codec<V>>,
    keys: PhantomData<fn(K)>,
}

impl<K, V> Family<K, V> {
    /// Values that each process keeps for itself, at most `capacity` of them.
    #[must_use]
    pub const fn in_process(name: CacheFamily, ttl: Duration, capacity: usize) -> Self {
        Self {
            name,
            ttl,
            capacity,
            shared: None,
            keys: PhantomData,
        }
    }

    /// Values that are in Redis as well. Whenever their JSON changes, `version` does: replicas of
    /// two releases run side by side.
    #[must_use]
    pub const fn shared(name: CacheFamily, version: u32, ttl: Duration, capacity: usize) -> Self
    where
        V: Serialize + DeserializeOwned,
    {
        Self {
            name,
            ttl,
            capacity,
            shared: Some(Codec::new(version)),
            keys: PhantomData,
        }
    }

    /// How a key is called in Redis and to other replicas.
    fn text(&self, key: &K) -> String
    where
        K: Display,
    {
        let version = self.shared.as_ref().map_or(0, Codec::version);
        format!("{}:v{version}:{key}", self.name.as_str())
    }
}

/// All that is kept; a clone is another handle on it.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

struct Shared {
    redis: Option<Redis>,
    clock: Clock,
    rng: Rng,
    families: [OnceLock<Arc<dyn Forgetful>>; CacheFamily::ALL.len()],
    feed: Feed,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

/// The values of some family, whatever their type.
trait Forgetful: Any + Send + Sync {
    /// Forgets what has this name.
    fn forget(&self, name: &str);
    /// Forgets everything.
    fn clear(&self);
}

impl<K: Key, V: Send + Sync + 'static> Forgetful for Memory<K, V> {
    fn forget(&self, name: &str) {
        if let Ok(key) = name.parse() {
            Self::forget(self, &key);
        }
    }

    fn clear(&self) {
        Self::clear(self);
    }
}

impl Cache {
    /// An empty cache. Until [`Cache::watch`] runs it cannot hear of changes elsewhere.
    #[must_use]
    pub fn new(redis: Option<Redis>, clock: Clock, rng: Rng) -> Self {
        Self(Arc::new(Shared {
            redis,
            clock,
            rng,
            families: std::array::from_fn(|_| OnceLock::new()),
            feed: Feed::default(),
        }))
    }

    /// Whether it would know by now what other replicas have forgotten.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.0.feed.is_heard()
    }

    /// The value of a key, read by `load` where it is not known.
    pub async fn get<K, V, F, E>(
        &self,
        family: &'static Family<K, V>,
        key: &K,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<V>, LoadError>
    where
        K: Key,
        V: Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
        E: Into<LoadError> + 'static,
    {
        let now = self.0.clock.now();
        let ttl = if self.hears() {
            family.ttl
        } else {
            family.ttl.min(DEAF_TTL)
        };
        let memory = self.memory(family);
        let found = memory.find_or_start(key, now, ttl, |ticket| {
            let (cache, load) = (self.clone(), load());
            async move { cache.read(family, ticket, load).await }.boxed()
        });
        match found {
            Found::Ready(value) => {
                metrics::count_cache_lookup(family.name, CacheLookup::Process);
                Ok(value)
            }
            Found::Joined(read) => {
                metrics::count_cache_lookup(family.name, CacheLookup::Joined);
                read.await
            }
            Found::Started(read) => read.await,
        }
    }

    /// Reads a value from Redis or by `load`, and keeps it unless it was forgotten meanwhile.
    async fn read<K, V, E: Into<LoadError>>(
        &self,
        family: &'static Family<K, V>,
        ticket: Ticket<K, V>,
        load: impl Future<Output = Result<V, E>> + Send,
    ) -> Result<Arc<V>, LoadError>
    where
        K: Key,
        V: Send + Sync + 'static,
    {
        let began = self.0.clock.now();
        let layer = self.0.redis.as_ref().zip(family.shared.as_ref());
        let held = match layer {
            Some((redis, codec)) => {
                let name = family.text(ticket.key());
                redis_layer::find(redis, codec, &self.0.rng, &name).await
            }
            None => Held::Unknown,
        };
        let lease = match held {
            Held::Value { value, stored } => {
                metrics::count_cache_lookup(family.name, CacheLookup::Redis);
                let value = Arc::new(value);
                ticket.keep(&value, stored.min(began));
                return Ok(value);
            }
            Held::Leased(lease) => Some(lease),
            Held::Unknown => None,
        };
        metrics::count_cache_lookup(family.name, CacheLookup::Loaded);
        let value = Arc::new(load.await.map_err(Into::into)?);
        ticket.keep(&value, began);
        if let (Some((redis, codec)), Some(lease)) = (layer, lease) {
            redis_layer::store(redis, codec, &lease, &value, began, family.ttl).await;
        }
        Ok(value)
    }

    /// Forgets a value, once what it was read from has changed and that is committed: here at once,
    /// elsewhere within a second.
    pub async fn forget<K: Key, V: Send + Sync + 'static>(
        &self,
        family: &'static Family<K, V>,
        key: &K,
    ) {
        let memory = self.memory(family);
        memory.forget(key);
        if let Some(redis) = &self.0.redis {
            self.0.feed.tell(redis, family.text(key)).await;
            // What was read from Redis since is as old as what was forgotten.
            memory.forget(key);
        }
    }

    /// Listens to what other replicas forget, and tells them again what they could not be told,
    /// until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        if let Some(redis) = &self.0.redis {
            let forget = |news: feed::News<'_>| self.heed(news);
            stop.run_until_cancelled(self.0.feed.listen(redis, forget))
                .await;
        }
    }

    /// Forgets what somebody else forgot.
    fn heed(&self, news: feed::News<'_>) {
        match news {
            feed::News::Everything => {
                for memory in self.0.families.iter().filter_map(OnceLock::get) {
                    memory.clear();
                }
            }
            feed::News::One(text) => {
                let mut parts = text.splitn(3, ':');
                let (family, key) = (parts.next(), parts.nth(1));
                let index = CacheFamily::ALL
                    .iter()
                    .position(|it| Some(it.as_str()) == family);
                let memory = index.and_then(|at| self.0.families[at].get());
                if let (Some(memory), Some(key)) = (memory, key) {
                    memory.forget(key);
                }
            }
        }
    }

    fn memory<K: Key, V: Send + Sync + 'static>(
        &self,
        family: &'static Family<K, V>,
    ) -> Arc<Memory<K, V>> {
        let slot = &self.0.families[family.name as usize];
        let memory = slot.get_or_init(|| Arc::new(Memory::<K, V>::new(family.capacity)));
        let memory: Arc<dyn Any + Send + Sync> = Arc::clone(memory) as _;
        memory
            .downcast()
            .unwrap_or_else(|_| unreachable!("two families share a name"))
    }
}

#[cfg(test)]
mod tests;
