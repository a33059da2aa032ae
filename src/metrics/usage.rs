//! What metering moves.

use std::time::Instant;

use metrics::{counter, gauge, histogram};

use super::{
    CallOutcome, QUOTA_REFUSALS, USAGE_DROPPED, USAGE_FLUSH, USAGE_WAITING, outcomes, whole,
};

/// How many counts of requests are not written yet.
pub fn set_waiting_usage(counts: usize) {
    gauge!(USAGE_WAITING).set(whole(counts));
}

/// A batch of counts whose writing began at `began`.
pub fn observe_usage_flush(began: Instant, outcome: CallOutcome) {
    histogram!(USAGE_FLUSH, "outcome" => outcome.as_str()).record(began.elapsed());
}

/// A request that there was no room to count.
pub fn count_dropped_usage() {
    counter!(USAGE_DROPPED).increment(1);
}

outcomes! {
    /// A monthly quota of an account.
    Quota {
        /// Requests.
        Requests "requests"
        /// Events that are stored.
        Events "events"
        /// Their bytes.
        EventBytes "event_bytes"
    }
}

/// A request beyond a hard quota.
pub fn count_quota_refusal(quota: Quota) {
    counter!(QUOTA_REFUSALS, "quota" => quota.as_str()).increment(1);
}

pub(super) fn begin() {
    for quota in Quota::ALL {
        counter!(QUOTA_REFUSALS, "quota" => quota.as_str()).absolute(0);
    }
}
