//! Metrics of calls to the store.

use std::time::Duration;

use metrics::{counter, histogram};

metric_families::families! {
    CALLS "object_store_call_duration_seconds" Histogram Seconds ["operation" "outcome"]
        "Calls to the object store, with their retries: ok, missing, refused, unavailable, malformed."
    READ_BYTES "object_store_read_bytes_total" Counter Bytes []
        "Bytes of objects that this service has read from the object store."
}

metric_families::label_values! {
    /// A call of the S3 API.
    Operation {
        Head "head"
        Get "get"
        Put "put"
        Copy "copy"
        Delete "delete"
        List "list"
        CreateBucket "create_bucket"
    }
}

pub(crate) fn observe_call(operation: Operation, outcome: &'static str, duration: Duration) {
    histogram!(CALLS, "operation" => operation.as_str(), "outcome" => outcome).record(duration);
}

pub(crate) fn count_read(bytes: u64) {
    counter!(READ_BYTES).increment(bytes);
}

/// Starts counters at zero.
pub fn init() {
    counter!(READ_BYTES).absolute(0);
}
