//! Attempt slots: bound the concurrent attempts of one limit key in this process. An attempt beyond them
//! waits until another has ended and its outcome is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::infra::LimitKey;

/// Running attempts; a clone is another handle.
#[derive(Clone, Debug, Default)]
pub struct AttemptSlots(Arc<Mutex<HashMap<LimitKey, UnderWay>>>);

#[derive(Debug, Default)]
struct UnderWay {
    count: u32,
    ended: Arc<Notify>,
}

/// Slot of a running attempt, released on drop.
#[derive(Debug)]
pub struct AttemptSlot {
    slots: AttemptSlots,
    keys: Vec<LimitKey>,
}

impl AttemptSlots {
    /// Takes a slot under each key, of at most so many; otherwise returns a future that resolves once one of
    /// the attempts in the way has ended.
    pub fn take(&self, rooms: &[(LimitKey, u32)]) -> Result<AttemptSlot, OwnedNotified> {
        let mut under_way = self.lock();
        for (key, room) in rooms {
            if let Some(others) = under_way.get(key)
                && others.count >= *room
            {
                // Made under the lock: an attempt that ends from now on is noticed.
                return Err(Arc::clone(&others.ended).notified_owned());
            }
        }
        for (key, _) in rooms {
            under_way.entry(*key).or_default().count += 1;
        }
        Ok(AttemptSlot {
            slots: self.clone(),
            keys: rooms.iter().map(|(key, _)| *key).collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LimitKey, UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AttemptSlot {
    fn drop(&mut self) {
        let mut under_way = self.slots.lock();
        for key in &self.keys {
            let Some(one) = under_way.get_mut(key) else {
                continue;
            };
            one.count -= 1;
            one.ended.notify_waiters();
            if one.count == 0 {
                under_way.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;

    fn key(last: u8) -> LimitKey {
        LimitKey::client(IpAddr::from([127, 0, 0, last]))
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_one_to_end() {
        let slots = AttemptSlots::default();
        let first = slots.take(&[(key(1), 2), (key(2), 5)]).expect("room");
        let second = slots.take(&[(key(1), 2)]).expect("room");
        let wait = slots.take(&[(key(2), 5), (key(1), 2)]).expect_err("full");
        assert!(slots.take(&[(key(2), 2)]).is_ok(), "others are not held up");
        drop(second);
        tokio::time::timeout(Duration::from_secs(5), wait)
            .await
            .expect("it was told");
        let third = slots.take(&[(key(1), 2)]).expect("room again");
        drop((first, third));
        assert!(slots.lock().is_empty(), "nothing is kept of what has ended");
    }
}
