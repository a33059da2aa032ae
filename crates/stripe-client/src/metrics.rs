//! Metrics of calls to Stripe.

use std::time::Duration;

use metrics::histogram;

use crate::error::CallError;

metric_families::families! {
    CALLS "stripe_call_duration_seconds" Histogram Seconds ["outcome"]
        "Calls to Stripe, with their retries."
}

pub(crate) fn observe_call(duration: Duration, error: Option<&CallError>) {
    let outcome = match error {
        None => "ok",
        Some(CallError::Refused(_)) => "refused",
        Some(CallError::Unavailable { .. }) => "unavailable",
        Some(CallError::Unknown(_)) => "unknown",
        Some(CallError::Malformed) => "malformed",
    };
    histogram!(CALLS, "outcome" => outcome).record(duration);
}
