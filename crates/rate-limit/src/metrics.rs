//! Metrics of the rate limiter.

use std::sync::OnceLock;

use metrics::{Counter, counter, gauge};

use crate::Limiter;

metric_families::families! {
    LIMITS_SHARED "limits_shared" Gauge Count []
        "1 while all replicas count limits together in Redis, 0 while this one counts alone."
    LIMIT_CHECKS "limit_checks_total" Counter Count ["kept"]
        "Requests counted against limits: together in Redis, in this process first and in Redis later, or in this process alone."
}

/// Looked up once: a check is on the path of every request.
static CHECKS: OnceLock<Checks> = OnceLock::new();

struct Checks {
    shared: Counter,
    deferred: Counter,
    local: Counter,
}

/// Where a check was counted.
#[derive(Clone, Copy)]
pub(crate) enum Kept {
    InRedis,
    Deferred,
    InProcess,
}

/// Starts counters at zero, once a recorder is installed: Prometheus sees an increase between two
/// samples only. Checks are not counted before.
pub fn init() {
    let checks = CHECKS.get_or_init(|| Checks {
        shared: counter!(LIMIT_CHECKS, "kept" => "together"),
        deferred: counter!(LIMIT_CHECKS, "kept" => "deferred"),
        local: counter!(LIMIT_CHECKS, "kept" => "alone"),
    });
    checks.shared.absolute(0);
    checks.deferred.absolute(0);
    checks.local.absolute(0);
}

/// Records whether all replicas count together.
pub fn record_mode(limiter: &Limiter) {
    gauge!(LIMITS_SHARED).set(if limiter.is_shared() { 1.0 } else { 0.0 });
}

pub(crate) fn count_check(kept: Kept) {
    if let Some(checks) = CHECKS.get() {
        let counter = match kept {
            Kept::InRedis => &checks.shared,
            Kept::Deferred => &checks.deferred,
            Kept::InProcess => &checks.local,
        };
        counter.increment(1);
    }
}
