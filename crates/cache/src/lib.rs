//! Cache of two layers, the process and Redis, with single-flight loads and invalidation across replicas.
//!
//! - Of concurrent misses of one key one loads; all of them share its result or error. A caller that is
//!   dropped leaves the load to the others.
//! - An invalidation takes effect here at once, in Redis with it, and on other replicas within a second.
//!   A load that began before it is returned to its callers and cached nowhere.
//! - Without Redis every lookup misses there, and a replica trusts its own entries for one second, since
//!   it cannot hear of invalidations.
//!
//! Values in Redis are trusted: cache nothing secret, and nothing that authorizes by itself.

mod invalidation;
mod last_seen;
mod memory;
pub mod metrics;
mod redis_layer;

use std::any::Any;
use std::error::Error;
use std::fmt::Display;
use std::hash::Hash;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clock::{Clock, Rng};
use futures_util::FutureExt as _;
use redis_client::Redis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

pub use self::last_seen::LastSeen;

use self::invalidation::{Invalidation, Invalidations};
use self::memory::{Found, LoadGuard, Memory};
use self::metrics::Lookup;
use self::redis_layer::{Codec, Shared};

/// TTL while a replica does not receive invalidations.
const TTL_WITHOUT_LISTENER: Duration = Duration::from_secs(1);

/// Families that one cache can hold.
const MAX_FAMILIES: usize = 16;

/// Failure of a load, shared by all callers that waited for it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct LoadError(Arc<dyn Error + Send + Sync>);

impl LoadError {
    /// The error that the load returned, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// Cache key.
pub trait Key: Clone + Eq + Hash + Display + FromStr + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Display + FromStr + Send + Sync + 'static> Key for K {}

/// A kind of values: name, TTL and capacity. Declared as a `static`; names are unique in a service.
#[derive(Debug)]
pub struct CacheFamily<K, V> {
    name: &'static str,
    ttl: Duration,
    capacity: usize,
    /// How values are written in Redis, where they are.
    shared: Option<Codec<V>>,
    keys: PhantomData<fn(K)>,
}

impl<K, V> CacheFamily<K, V> {
    /// Values that each process caches for itself, at most `capacity` of them.
    #[must_use]
    pub const fn in_process(name: &'static str, ttl: Duration, capacity: usize) -> Self {
        Self {
            name,
            ttl,
            capacity,
            shared: None,
            keys: PhantomData,
        }
    }

    /// Values that are cached in Redis as well. Raise `version` whenever their JSON changes: replicas of
    /// two releases run side by side.
    #[must_use]
    pub const fn shared(name: &'static str, version: u32, ttl: Duration, capacity: usize) -> Self
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

    /// Name of an entry in Redis and in invalidations.
    fn text(&self, key: &K) -> String
    where
        K: Display,
    {
        let version = self.shared.as_ref().map_or(0, Codec::version);
        format!("{}:v{version}:{key}", self.name)
    }
}

/// The cache of a process; clones share it.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    redis: Option<Redis>,
    clock: Clock,
    rng: Rng,
    /// Claimed from the front by the first use of each family.
    families: [OnceLock<(&'static str, Arc<dyn Invalidate>)>; MAX_FAMILIES],
    invalidations: Invalidations,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

/// Entries of a family, whatever their type.
trait Invalidate: Any + Send + Sync {
    fn invalidate(&self, key: &str);
    fn clear(&self);
}

impl<K: Key, V: Send + Sync + 'static> Invalidate for Memory<K, V> {
    fn invalidate(&self, key: &str) {
        if let Ok(key) = key.parse() {
            Self::invalidate(self, &key);
        }
    }

    fn clear(&self) {
        Self::clear(self);
    }
}

impl Cache {
    /// An empty cache. [`Cache::listen`] must run for it to receive invalidations.
    #[must_use]
    pub fn new(redis: Option<Redis>, clock: Clock, rng: Rng) -> Self {
        Self(Arc::new(Inner {
            redis,
            clock,
            rng,
            families: [const { OnceLock::new() }; MAX_FAMILIES],
            invalidations: Invalidations::default(),
        }))
    }

    /// Returns whether invalidations by other replicas arrive.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.0.invalidations.arrive()
    }

    /// Returns the value of a key, by `load` on a miss.
    pub async fn get<K, V, F, E>(
        &self,
        family: &'static CacheFamily<K, V>,
        key: &K,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<V>, LoadError>
    where
        K: Key,
        V: Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let now = self.0.clock.now();
        let ttl = if self.is_listening() {
            family.ttl
        } else {
            family.ttl.min(TTL_WITHOUT_LISTENER)
        };
        let memory = self.memory(family);
        let found = memory.get_or_load(key, now, ttl, |guard| {
            let (cache, load) = (self.clone(), load());
            async move { cache.load(family, guard, load).await }.boxed()
        });
        match found {
            Found::Hit(value) => {
                metrics::count_lookup(family.name, Lookup::Process);
                Ok(value)
            }
            Found::Joined(load) => {
                metrics::count_lookup(family.name, Lookup::Joined);
                load.await
            }
            Found::Started(load) => load.await,
        }
    }

    /// Reads a value from Redis or by `load`, and caches it unless it was invalidated meanwhile.
    async fn load<K, V, E>(
        &self,
        family: &'static CacheFamily<K, V>,
        guard: LoadGuard<K, V>,
        load: impl Future<Output = Result<V, E>> + Send,
    ) -> Result<Arc<V>, LoadError>
    where
        K: Key,
        V: Send + Sync + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let began = self.0.clock.now();
        let layer = self.0.redis.as_ref().zip(family.shared.as_ref());
        let shared = match layer {
            Some((redis, codec)) => {
                let name = family.text(guard.key());
                redis_layer::find(redis, codec, &self.0.rng, &name).await
            }
            None => Shared::Unavailable,
        };
        let lease = match shared {
            Shared::Value { value, stored } => {
                metrics::count_lookup(family.name, Lookup::Redis);
                let value = Arc::new(value);
                guard.insert(&value, stored.min(began));
                return Ok(value);
            }
            Shared::Leased(lease) => Some(lease),
            Shared::Unavailable => None,
        };
        metrics::count_lookup(family.name, Lookup::Loaded);
        let value = load.await.map_err(|error| LoadError(error.into().into()))?;
        let value = Arc::new(value);
        guard.insert(&value, began);
        if let (Some((redis, codec)), Some(lease)) = (layer, lease) {
            redis_layer::store(redis, codec, &lease, &value, began, family.ttl).await;
        }
        Ok(value)
    }

    /// Invalidates a value after the commit of what changed it: here at once, elsewhere within a second.
    pub async fn invalidate<K: Key, V: Send + Sync + 'static>(
        &self,
        family: &'static CacheFamily<K, V>,
        key: &K,
    ) {
        let memory = self.memory(family);
        memory.invalidate(key);
        if let Some(redis) = &self.0.redis {
            let name = family.text(key);
            self.0.invalidations.publish(redis, name).await;
            // What was read from Redis since may be the old value.
            memory.invalidate(key);
        }
    }

    /// Invalidation listener: applies invalidations by other replicas and publishes again those that
    /// could not be published, until `stop`.
    pub async fn listen(self, stop: CancellationToken) {
        if let Some(redis) = &self.0.redis {
            let apply = |invalidation: Invalidation<'_>| self.apply(invalidation);
            stop.run_until_cancelled(self.0.invalidations.listen(redis, apply))
                .await;
        }
    }

    fn apply(&self, invalidation: Invalidation<'_>) {
        let mut families = self.0.families.iter().filter_map(OnceLock::get);
        match invalidation {
            Invalidation::All => families.for_each(|(_, memory)| memory.clear()),
            Invalidation::One(text) => {
                let mut parts = text.splitn(3, ':');
                let (family, key) = (parts.next(), parts.nth(1));
                let memory = families.find(|(name, _)| Some(*name) == family);
                if let (Some((_, memory)), Some(key)) = (memory, key) {
                    memory.invalidate(key);
                }
            }
        }
    }

    fn memory<K: Key, V: Send + Sync + 'static>(
        &self,
        family: &'static CacheFamily<K, V>,
    ) -> Arc<Memory<K, V>> {
        let init = || -> (_, Arc<dyn Invalidate>) {
            (family.name, Arc::new(Memory::<K, V>::new(family.capacity)))
        };
        let mut slots = self.0.families.iter().map(|slot| slot.get_or_init(init));
        let slot = slots.find(|(name, _)| *name == family.name);
        let (_, memory) = slot.unwrap_or_else(|| unreachable!("more than 16 cache families"));
        let memory: Arc<dyn Any + Send + Sync> = Arc::clone(memory) as _;
        memory
            .downcast()
            .unwrap_or_else(|_| unreachable!("two cache families share a name"))
    }
}

#[cfg(test)]
mod tests;
