//! Result of the last check.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Result of the last check, and when it ran. Concurrent callers share one run.
#[derive(Debug)]
pub struct CachedCheck<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for CachedCheck<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> CachedCheck<T> {
    /// Returns the last result, or that of `check` if it is older than `keep` of it.
    pub async fn get(&self, keep: impl Fn(T) -> Duration, check: impl AsyncFnOnce() -> T) -> T {
        let mut last = self.0.lock().await;
        match *last {
            Some((at, result)) if at.elapsed() < keep(result) => result,
            _ => {
                let result = check().await;
                *last = Some((Instant::now(), result));
                result
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_result_is_kept_as_long_as_it_says() {
        let cached = CachedCheck::default();
        let keep = |result: u8| Duration::from_secs(result.into());
        assert_eq!(cached.get(keep, async || 2).await, 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cached.get(keep, async || 9).await, 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(cached.get(keep, async || 9).await, 9);
    }
}
