//! Typed ids. All are `UUIDv7` (RFC 9562 §5.7), which sort by time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use clock::uuid_v7;

use crate::infra::Rng;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
            sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(value_type = Uuid, example = "01980b6e-7c00-7000-8000-3f2a51d6c9b1")]
        pub struct $name(pub Uuid);

        impl $name {
            #[must_use]
            pub fn new(now: DateTime<Utc>, rng: &Rng) -> Self {
                Self(uuid_v7(now, rng))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl From<$name> for sea_query::Value {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    )+};
}

id! {
    /// `users.id`
    UserId,
    /// `sessions.id`
    SessionId,
    /// `api_keys.id`
    ApiKeyId,
    /// `subscriptions.id`
    SubscriptionId,
    /// `payments.id`
    PaymentId,
    /// `audit_log.id`
    AuditId,
    /// `events.id`
    EventId,
    /// `one_time_tokens.id`
    OneTimeTokenId,
}
