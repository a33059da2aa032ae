//! Metrics of the cache.

use std::sync::OnceLock;

use metrics::{Counter, counter};

metric_families::families! {
    CACHE_LOOKUPS "cache_lookups_total" Counter Count ["family" "outcome"]
        "Look-ups in the cache, by where the value came from."
}

/// Where a value came from.
#[derive(Clone, Copy)]
pub(crate) enum Lookup {
    Process,
    /// A load in progress.
    Joined,
    Redis,
    /// The caller's load.
    Loaded,
}

/// Label values in the order of [`Lookup`].
const OUTCOMES: [&str; 4] = ["process", "joined", "redis", "loaded"];

/// Looked up once: hits are on the path of most requests.
static LOOKUPS: OnceLock<Vec<(&'static str, [Counter; 4])>> = OnceLock::new();

/// Starts the counters of these families at zero, once a recorder is installed: Prometheus sees an
/// increase between two samples only. Other families, and lookups before, are not counted.
pub fn init(families: &[&'static str]) {
    let series = |family: &&'static str| {
        let of = |outcome| counter!(CACHE_LOOKUPS, "family" => *family, "outcome" => outcome);
        (*family, OUTCOMES.map(of))
    };
    let lookups = LOOKUPS.get_or_init(|| families.iter().map(series).collect());
    for counter in lookups.iter().flat_map(|(_, counters)| counters) {
        counter.absolute(0);
    }
}

pub(crate) fn count_lookup(family: &str, outcome: Lookup) {
    let mut lookups = LOOKUPS.get().into_iter().flatten();
    if let Some((_, counters)) = lookups.find(|(name, _)| *name == family) {
        counters[outcome as usize].increment(1);
    }
}
