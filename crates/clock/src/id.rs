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

/// Time of a `UUIDv7`; `None` for other ids.
pub fn uuid_v7_time(id: Uuid) -> Option<DateTime<Utc>> {
    let is_v7 = id.get_version() == Some(uuid::Version::SortRand)
        && id.get_variant() == uuid::Variant::RFC4122;
    let (seconds, nanos) = id.get_timestamp().filter(|_| is_v7)?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
