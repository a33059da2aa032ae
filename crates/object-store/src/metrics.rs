//! Metrics of calls to the store.

use std::time::Duration;

use metrics::{counter, histogram};

metric_families::families! {
    CALLS "object_store_call_duration_seconds" Histogram Seconds ["store" "operation" "outcome"]
        "Calls to the object store, primary or copy, with their retries: ok, missing, refused, unavailable, untrusted, malformed."
    READ_BYTES "object_store_read_bytes_total" Counter Bytes []
        "Bytes of objects that this service has read from the object store."
    WRITTEN_BYTES "object_store_written_bytes_total" Counter Bytes []
        "Bytes of objects that this service has written to the object store."
}

metric_families::label_values! {
    /// Which of the stores is called.
    StoreRole {
        /// That of the product.
        Primary "primary"
        /// The second place.
        Copy "copy"
    }
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

pub(crate) fn observe_call(
    role: StoreRole,
    operation: Operation,
    outcome: &'static str,
    duration: Duration,
) {
    let (store, operation) = (role.as_str(), operation.as_str());
    histogram!(CALLS, "store" => store, "operation" => operation, "outcome" => outcome)
        .record(duration);
}

pub(crate) fn count_read(bytes: u64) {
    counter!(READ_BYTES).increment(bytes);
}

pub(crate) fn count_written(bytes: u64) {
    counter!(WRITTEN_BYTES).increment(bytes);
}

/// Starts counters at zero.
pub fn init() {
    counter!(READ_BYTES).absolute(0);
    counter!(WRITTEN_BYTES).absolute(0);
}
