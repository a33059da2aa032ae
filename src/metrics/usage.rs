//! Metering and quotas.

use std::time::Instant;

use metrics::{counter, gauge, histogram};

use super::{
    CallOutcome, QUOTA_REFUSALS, USAGE_DROPPED, USAGE_FLUSH, USAGE_WAITING, outcomes, whole, zero,
};

pub fn set_waiting_usage(counts: usize) {
    gauge!(USAGE_WAITING).set(whole(counts));
}

pub fn observe_usage_flush(began: Instant, outcome: CallOutcome) {
    histogram!(USAGE_FLUSH, "outcome" => outcome.as_str()).record(began.elapsed());
}

pub fn count_dropped_usage() {
    counter!(USAGE_DROPPED).increment(1);
}

outcomes! {
    /// A monthly quota of an account.
    Quota {
        Requests "requests"
        Events "events"
        EventBytes "event_bytes"
    }
}

pub fn count_quota_refusal(quota: Quota) {
    counter!(QUOTA_REFUSALS, "quota" => quota.as_str()).increment(1);
}

pub(super) fn begin() {
    zero(QUOTA_REFUSALS, "quota", Quota::ALL, Quota::as_str);
}
