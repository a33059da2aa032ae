//! Rate limits and rejected requests.

use std::sync::LazyLock;

use metrics::{Counter, counter, gauge};

use super::{HTTP_MAX_REQUESTS, LIMIT_CHECKS, LIMITS_SHARED, LimitsKept, REQUESTS_REFUSED, whole};
use telemetry::prometheus::is_installed;

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

pub fn set_limits_shared(shared: bool) {
    gauge!(LIMITS_SHARED).set(if shared { 1.0 } else { 0.0 });
}

/// Handles by value, since building labels costs more than counting.
static CHECKS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let series = |kept: &LimitsKept| counter!(LIMIT_CHECKS, "kept" => kept.as_str());
    LimitsKept::ALL.iter().map(series).collect()
});

pub fn count_limit_check(kept: LimitsKept) {
    if is_installed() {
        CHECKS[kept as usize].increment(1);
    }
}

/// Counts a rejected request; `by` is the name of a limit or of a middleware.
pub fn count_refused(by: &'static str) {
    counter!(REQUESTS_REFUSED, "by" => by).increment(1);
}

pub fn set_max_requests(max: usize) {
    gauge!(HTTP_MAX_REQUESTS).set(whole(max));
}
