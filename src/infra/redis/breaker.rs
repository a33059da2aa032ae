//! Notices when asking is no use, so that nobody waits for an answer that will not come.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// So many failures in a row, and nobody asks any more.
const OPENS_AFTER: u32 = 3;

/// Counts failures in a row; open means: do not ask.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
    open: AtomicBool,
}

impl Breaker {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Notes a failure; answers whether the breaker opens by it.
    pub(super) fn note_failure(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= OPENS_AFTER && !self.open.swap(true, Ordering::Relaxed)
    }

    /// Notes an answer. It does not close the breaker: one that came in time for a patient asker
    /// may be too late for requests.
    pub(super) fn note_answer(&self) {
        // Read first: every command passes here, and a write would take the cache line with it.
        if self.failures.load(Ordering::Relaxed) != 0 && !self.is_open() {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Closes it again.
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
        assert!(!breaker.note_failure());
        assert!(!breaker.note_failure());
        breaker.note_answer();
        assert!(!breaker.note_failure());
        assert!(!breaker.note_failure());
        assert!(!breaker.is_open());
        assert!(breaker.note_failure());
        assert!(breaker.is_open());
        assert!(!breaker.note_failure(), "it opens once");
        breaker.note_answer();
        assert!(breaker.is_open(), "an answer alone does not close it");
        breaker.close();
        assert!(!breaker.is_open());
        assert!(!breaker.note_failure(), "it counts anew");
    }
}
