//! What the cache tells.

use std::sync::LazyLock;

use metrics::{Counter, counter};

use super::{CACHE_LOOKUPS, outcomes};
use telemetry::prometheus::is_installed;

outcomes! {
    /// What is kept in the cache.
    CacheFamily {
        /// The plan of an account.
        Plan "plan"
        /// Whether an account has a second factor.
        SecondFactor "second_factor"
        /// The page of plans.
        Pricing "pricing"
        /// What an account sees first.
        Dashboard "dashboard"
    }
}

outcomes! {
    /// Where a value that was looked up in the cache came from.
    CacheLookup {
        /// The process had it.
        Process "process"
        /// Somebody was reading it already.
        Joined "joined"
        /// Redis had it.
        Redis "redis"
        /// It was read anew.
        Loaded "loaded"
    }
}

/// The series of each family by outcome, kept as `http` keeps its own.
static LOOKUPS: LazyLock<Vec<Vec<Counter>>> = LazyLock::new(|| {
    let of = |family: &CacheFamily| {
        let series = |outcome: &CacheLookup| counter!(CACHE_LOOKUPS, "family" => family.as_str(), "outcome" => outcome.as_str());
        CacheLookup::ALL.iter().map(series).collect()
    };
    CacheFamily::ALL.iter().map(of).collect()
});

/// A look-up in the cache.
pub fn count_cache_lookup(family: CacheFamily, outcome: CacheLookup) {
    if is_installed() {
        LOOKUPS[family as usize][outcome as usize].increment(1);
    }
}

/// Zeros where a first look-up would go unseen.
pub(super) fn begin() {
    for series in LOOKUPS.iter().flatten() {
        series.absolute(0);
    }
}
