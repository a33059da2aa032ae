//! Metrics of limits.

use std::sync::LazyLock;

use metrics::{Counter, counter, gauge};

use super::{HTTP_MAX_REQUESTS, LIMIT_CHECKS, LIMITS_SHARED, LimitsKept, REQUESTS_REFUSED, whole};
use telemetry::prometheus::is_installed;

/// Zeros where a first event would go unseen.
pub(super) fn begin() {
    for series in CHECKS.iter() {
        series.absolute(0);
    }
    for by in [
        "guard",
        "load",
        "network",
        "reports",
        "user_agent",
        "country",
    ] {
        counter!(REQUESTS_REFUSED, "by" => by).absolute(0);
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

/// A refused request: `by` is the name of a limit, of the guard, the cap, a bound of one client or a
/// deny-list.
pub fn count_refused(by: &'static str) {
    counter!(REQUESTS_REFUSED, "by" => by).increment(1);
}

/// The cap on requests that are answered at once.
pub fn set_max_requests(max: usize) {
    gauge!(HTTP_MAX_REQUESTS).set(whole(max));
}
