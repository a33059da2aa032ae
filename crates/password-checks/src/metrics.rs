//! Metrics of the breach check.

use std::time::Instant;

use metrics::histogram;

use crate::breaches::Failure;

metric_families::families! {
    BREACH_CHECKS "breach_check_duration_seconds" Histogram Seconds ["outcome"]
        "New passwords looked up among those of known breaches."
}

pub(crate) fn observe_breach_check(began: Instant, result: &Result<bool, Failure>) {
    let outcome = match result {
        Ok(true) => "known",
        Ok(false) => "unknown",
        Err(Failure::Timeout) => "timeout",
        Err(Failure::Unreachable(_)) => "unreachable",
        Err(Failure::Refused(_)) => "refused",
        Err(Failure::Malformed) => "malformed",
    };
    histogram!(BREACH_CHECKS, "outcome" => outcome).record(began.elapsed());
}
