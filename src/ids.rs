//! One newtype per key, so that a session's id cannot be passed where a user's is meant. All are
//! `UUIDv7` (RFC 9562 §5.7): they sort by the time they were made.

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
            /// A new id for `now`.
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
    /// A person with an account: `users.id`.
    UserId,
    /// One sign-in on one device: `sessions.id`.
    SessionId,
    /// A key that programs act for an account with: `api_keys.id`.
    ApiKeyId,
    /// What an account pays for: `subscriptions.id`.
    SubscriptionId,
    /// Money that moved: `payments.id`.
    PaymentId,
    /// A line of the audit log: `audit_log.id`.
    AuditId,
    /// What an account's product told of: `events.id`.
    EventId,
    /// A mailed, single-use link: `one_time_tokens.id`.
    OneTimeTokenId,
}
