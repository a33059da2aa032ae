//! Circuit breaker: opens after three consecutive failures.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const OPENS_AFTER: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
    open: AtomicBool,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns whether this failure opens the breaker.
    pub(super) fn record_failure(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= OPENS_AFTER && !self.open.swap(true, Ordering::Relaxed)
    }

    /// Opens the breaker without waiting for more failures. Returns whether it was closed.
    pub(super) fn open(&self) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        !self.open.swap(true, Ordering::Relaxed)
    }

    /// Does not close an open breaker: a reply in time for a health check may be too late for requests.
    pub(super) fn record_success(&self) {
        // Read first: every command comes here, and a write would invalidate the cache line.
        if self.failures.load(Ordering::Relaxed) != 0 && !self.is_open() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it_once() {
        let breaker = Breaker::default();
        assert!(!breaker.record_failure());
        assert!(!breaker.record_failure());
        breaker.record_success();
        assert!(!breaker.record_failure());
        assert!(!breaker.record_failure());
        assert!(!breaker.is_open());
        assert!(breaker.record_failure());
        assert!(breaker.is_open());
        assert!(!breaker.record_failure(), "it opens once");
        breaker.record_success();
        assert!(breaker.is_open(), "a reply alone does not close it");
        breaker.close();
        assert!(!breaker.is_open());
        assert!(!breaker.record_failure(), "it counts from zero");
        assert!(breaker.open() && breaker.is_open());
        assert!(!breaker.open(), "it opens once");
    }
}
