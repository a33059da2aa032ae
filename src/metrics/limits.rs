//! Metrics of limits.

use std::sync::LazyLock;

use metrics::{Counter, counter, gauge};

use super::{LIMIT_CHECKS, LIMITS_SHARED, LimitsKept};
use telemetry::prometheus::is_installed;

/// Zeros where a first event would go unseen.
pub(super) fn begin() {
    for series in CHECKS.iter() {
        series.absolute(0);
    }
}

/// Whether all replicas count limits together.
pub fn set_limits_shared(shared: bool) {
    gauge!(LIMITS_SHARED).set(if shared { 1.0 } else { 0.0 });
}

/// The series by who keeps the limits, kept as `http` keeps its own.
static CHECKS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let series = |kept: &LimitsKept| counter!(LIMIT_CHECKS, "kept" => kept.as_str());
    LimitsKept::ALL.iter().map(series).collect()
});

/// A request that was counted against its limits.
pub fn count_limit_check(kept: LimitsKept) {
    if is_installed() {
        CHECKS[kept as usize].increment(1);
    }
}
