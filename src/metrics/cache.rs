//! Cache lookups.

use std::sync::LazyLock;

use metrics::{Counter, counter};

use super::{CACHE_LOOKUPS, outcomes};
use telemetry::prometheus::is_installed;

outcomes! {
    CacheFamily {
        Plan "plan"
        SecondFactor "second_factor"
        Pricing "pricing"
        Dashboard "dashboard"
    }
}

outcomes! {
    /// Source of a value that was looked up.
    CacheLookup {
        /// In-process cache.
        Process "process"
        /// Concurrent read of the same value (single-flight).
        Joined "joined"
        Redis "redis"
        /// Cache miss.
        Loaded "loaded"
    }
}

/// Handles by family and outcome, since building labels costs more than counting.
static LOOKUPS: LazyLock<Vec<Vec<Counter>>> = LazyLock::new(|| {
    let of = |family: &CacheFamily| {
        let series = |outcome: &CacheLookup| counter!(CACHE_LOOKUPS, "family" => family.as_str(), "outcome" => outcome.as_str());
        CacheLookup::ALL.iter().map(series).collect()
    };
    CacheFamily::ALL.iter().map(of).collect()
});

pub fn count_cache_lookup(family: CacheFamily, outcome: CacheLookup) {
    if is_installed() {
        LOOKUPS[family as usize][outcome as usize].increment(1);
    }
}

pub(super) fn begin() {
    for series in LOOKUPS.iter().flatten() {
        series.absolute(0);
    }
}
