//! Attempt slots: bound the concurrent attempts of one limit key in this process. An attempt beyond them
//! waits until another has ended and its outcome is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::{CounterState, Key};

/// Running attempts; a clone is another handle.
#[derive(Clone, Debug, Default)]
pub struct AttemptSlots(Arc<Mutex<HashMap<Key, Running>>>);

#[derive(Debug, Default)]
struct Running {
    count: u32,
    ended: Arc<Notify>,
}

/// Slot of a running attempt, released on drop.
#[derive(Debug)]
pub struct AttemptSlot {
    slots: AttemptSlots,
    keys: Vec<Key>,
}

impl AttemptSlots {
    /// Takes a slot under each counter, up to the failures left. Returns `None` once another attempt has ended,
    /// so that the caller reads the counters again.
    pub async fn wait(
        &self,
        counters: &[CounterState],
        until: Instant,
    ) -> Result<Option<AttemptSlot>, Elapsed> {
        let limits: Vec<_> = counters.iter().map(|it| (it.key, it.left)).collect();
        match self.take(&limits) {
            Ok(slot) => Ok(Some(slot)),
            Err(ended) => timeout_at(until, ended).await.map(|()| None),
        }
    }

    /// Otherwise returns a future that resolves once a running attempt under one of the keys has ended.
    fn take(&self, limits: &[(Key, u32)]) -> Result<AttemptSlot, OwnedNotified> {
        let mut running = self.lock();
        for (key, limit) in limits {
            if let Some(others) = running.get(key)
                && others.count >= *limit
            {
                // Created under the lock: no end of an attempt is missed.
                return Err(Arc::clone(&others.ended).notified_owned());
            }
        }
        for (key, _) in limits {
            running.entry(*key).or_default().count += 1;
        }
        Ok(AttemptSlot {
            slots: self.clone(),
            keys: limits.iter().map(|(key, _)| *key).collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AttemptSlot {
    fn drop(&mut self) {
        let mut running = self.slots.lock();
        for key in &self.keys {
            let Some(one) = running.get_mut(key) else {
                continue;
            };
            one.count -= 1;
            one.ended.notify_waiters();
            if one.count == 0 {
                running.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    fn key(last: u8) -> Key {
        Key::client(IpAddr::from([127, 0, 0, last]))
    }

    #[tokio::test]
    async fn an_attempt_beyond_the_limit_waits_for_another_to_end() {
        let slots = AttemptSlots::default();
        let first = slots.take(&[(key(1), 2), (key(2), 5)]).expect("a slot");
        let second = slots.take(&[(key(1), 2)]).expect("a slot");
        let wait = slots.take(&[(key(2), 5), (key(1), 2)]).expect_err("full");
        assert!(slots.take(&[(key(2), 2)]).is_ok(), "other keys do not wait");
        drop(second);
        tokio::time::timeout(Duration::from_secs(5), wait)
            .await
            .expect("it is notified");
        let third = slots.take(&[(key(1), 2)]).expect("a slot again");
        drop((first, third));
        assert!(slots.lock().is_empty(), "ended attempts leave no entry");
    }
}
