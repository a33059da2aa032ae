//! How many attempts at the same thing are under way in this process, so that those which a limit
//! has no room for wait until it is known what became of the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::LimitKey;

/// What is under way; a clone is another handle on it.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<HashMap<LimitKey, UnderWay>>>);

#[derive(Debug, Default)]
struct UnderWay {
    count: u32,
    ended: Arc<Notify>,
}

/// An attempt that is under way until this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    keys: Vec<LimitKey>,
}

impl Turns {
    /// Begins an attempt that counts by these keys, each of which has room for so many at once.
    /// Otherwise answers what resolves when one of those in the way has ended.
    pub fn begin(&self, rooms: &[(LimitKey, u32)]) -> Result<Turn, OwnedNotified> {
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
        Ok(Turn {
            turns: self.clone(),
            keys: rooms.iter().map(|(key, _)| *key).collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LimitKey, UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = self.turns.lock();
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
        let turns = Turns::default();
        let first = turns.begin(&[(key(1), 2), (key(2), 5)]).expect("room");
        let second = turns.begin(&[(key(1), 2)]).expect("room");
        let wait = turns.begin(&[(key(2), 5), (key(1), 2)]).expect_err("full");
        assert!(
            turns.begin(&[(key(2), 2)]).is_ok(),
            "others are not held up"
        );
        drop(second);
        tokio::time::timeout(Duration::from_secs(5), wait)
            .await
            .expect("it was told");
        let third = turns.begin(&[(key(1), 2)]).expect("room again");
        drop((first, third));
        assert!(turns.lock().is_empty(), "nothing is kept of what has ended");
    }
}
