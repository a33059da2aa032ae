//! Identifiers that sort by time.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::Rng;

/// A `UUIDv7` (RFC 9562 §5.7) for `now`, its random part drawn from `rng`.
#[must_use]
pub fn uuid_v7(now: DateTime<Utc>, rng: &Rng) -> Uuid {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rng.bytes()).into_uuid()
}
