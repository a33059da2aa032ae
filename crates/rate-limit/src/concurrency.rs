//! Concurrency limit in all and by caller, so that heavy work of a few leaves database connections to others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use uuid::Uuid;

/// Concurrency limit of this process; clones share it.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Arc<Semaphore>,
    per_caller: usize,
    callers: Mutex<HashMap<Uuid, Arc<Semaphore>>>,
}

/// A slot, released on drop.
#[derive(Debug)]
pub struct Slot {
    limit: ConcurrencyLimit,
    caller: Uuid,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// No slot became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// The caller uses all of its slots.
    OfCaller,
    /// All slots are taken.
    OfAll,
}

impl ConcurrencyLimit {
    /// `all` slots, of which one caller may have `per_caller`.
    #[must_use]
    pub fn new(all: usize, per_caller: usize) -> Self {
        Self(Arc::new(Inner {
            all: Arc::new(Semaphore::new(all)),
            per_caller,
            callers: Mutex::default(),
        }))
    }

    /// `per_caller` slots for each caller, without a limit in all.
    #[must_use]
    pub fn per_caller(per_caller: usize) -> Self {
        Self::new(Semaphore::MAX_PERMITS, per_caller)
    }

    /// Takes a slot, or waits up to `wait` for one, in order.
    pub async fn acquire(&self, caller: Uuid, wait: Duration) -> Result<Slot, TooMany> {
        // Its drop removes the caller's entry, whatever becomes of the wait.
        let mut slot = Slot {
            limit: self.clone(),
            caller,
            permits: None,
        };
        let own = Arc::clone(
            self.callers()
                .entry(caller)
                .or_insert_with(|| Arc::new(Semaphore::new(self.0.per_caller))),
        );
        let mut refused = TooMany::OfCaller;
        let both = async {
            let own = own.acquire_owned().await.ok()?;
            refused = TooMany::OfAll;
            let all = Arc::clone(&self.0.all).acquire_owned().await.ok()?;
            Some((own, all))
        };
        let permits = timeout(wait, both).await.ok().flatten();
        slot.permits = Some(permits.ok_or(refused)?);
        Ok(slot)
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Semaphore>>> {
        (self.0.callers.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permits.take());
        let mut callers = self.limit.callers();
        // Each permit and each waiting call holds a handle; the last one takes the entry along.
        if callers
            .get(&self.caller)
            .is_some_and(|it| Arc::strong_count(it) == 1)
        {
            callers.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Uuid = Uuid::from_u128(1);
    const BOB: Uuid = Uuid::from_u128(2);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_caller_has_its_share_and_all_callers_have_the_whole() {
        let limit = ConcurrencyLimit::new(3, 2);
        let first = limit.acquire(ADA, SHORT).await.expect("a slot");
        let _second = limit.acquire(ADA, SHORT).await.expect("a slot");
        let refused = limit.acquire(ADA, SHORT).await;
        assert_eq!(refused.err(), Some(TooMany::OfCaller));
        let _third = limit.acquire(BOB, SHORT).await.expect("a slot");
        let refused = limit.acquire(BOB, SHORT).await;
        assert_eq!(refused.err(), Some(TooMany::OfAll));
        drop(first);
        assert!(limit.acquire(BOB, SHORT).await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_slot_that_becomes_free() {
        let limit = ConcurrencyLimit::new(1, 1);
        let slot = limit.acquire(ADA, SHORT).await.expect("a slot");
        let (limit_of_bob, waits) = (limit.clone(), Duration::from_secs(10));
        let bob = tokio::spawn(async move { limit_of_bob.acquire(BOB, waits).await.is_ok() });
        tokio::task::yield_now().await;
        drop(slot);
        assert!(bob.await.expect("it does not panic"));
    }

    #[tokio::test]
    async fn nothing_is_kept_of_callers_without_a_slot() {
        let limit = ConcurrencyLimit::new(1, 1);
        let slot = limit.acquire(ADA, SHORT).await.expect("a slot");
        for caller in 2..100 {
            let refused = limit.acquire(Uuid::from_u128(caller), Duration::ZERO).await;
            assert_eq!(refused.err(), Some(TooMany::OfAll));
        }
        assert_eq!(limit.callers().len(), 1);
        drop(slot);
        assert_eq!(limit.callers().len(), 0);
        assert_eq!(limit.0.all.available_permits(), 1);
    }
}
