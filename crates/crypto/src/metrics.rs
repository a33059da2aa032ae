//! Metrics of the password hashing pool.

use std::time::Duration;

use metrics::{counter, histogram};

metric_families::families! {
    HASH_WAIT "password_hash_wait_seconds" Histogram Seconds []
        "The wait of a password for its turn in the hashing pool."
    HASH_DURATION "password_hash_duration_seconds" Histogram Seconds []
        "The hashing itself."
    HASH_REFUSED "password_hash_refused_total" Counter Count []
        "Passwords whose turn did not come in time."
}

/// Starts counters at zero: Prometheus sees an increase between two samples only.
pub fn init() {
    counter!(HASH_REFUSED).absolute(0);
}

pub(crate) fn count_refused() {
    counter!(HASH_REFUSED).increment(1);
}

pub(crate) fn observe_wait(wait: Duration) {
    histogram!(HASH_WAIT).record(wait);
}

pub(crate) fn observe_hash(took: Duration) {
    histogram!(HASH_DURATION).record(took);
}
