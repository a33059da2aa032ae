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

/// Declares newtypes of UUIDv7 for serde, sqlx, sea-query and utoipa, which the caller depends on.
#[macro_export]
macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::serde::Serialize, ::serde::Deserialize,
            ::utoipa::ToSchema, ::sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(value_type = ::uuid::Uuid, example = "01980b6e-7c00-7000-8000-3f2a51d6c9b1")]
        pub struct $name(pub ::uuid::Uuid);

        impl $name {
            #[must_use]
            pub fn new(now: ::chrono::DateTime<::chrono::Utc>, rng: &$crate::Rng) -> Self {
                Self($crate::uuid_v7(now, rng))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ::uuid::Error;

            fn from_str(text: &str) -> Result<Self, ::uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for ::sea_query::Value {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    )+};
}

/// Time of a `UUIDv7`; `None` for other ids.
pub fn uuid_v7_time(id: Uuid) -> Option<DateTime<Utc>> {
    let is_v7 = id.get_version() == Some(uuid::Version::SortRand)
        && id.get_variant() == uuid::Variant::RFC4122;
    let (seconds, nanos) = id.get_timestamp().filter(|_| is_v7)?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}
