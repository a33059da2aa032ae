//! What can go wrong with an event, and how it looks from outside.

use std::time::Duration;

use crate::infra::LoadError;
use crate::metrics::Quota;
use crate::web::{Code, Problem};

/// What can go wrong with an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Ids that the caller made are not `UUIDv7` of about now.
    #[error("an id is no UUIDv7 of about now")]
    Ids {
        /// Where they were read.
        fields: Vec<String>,
    },
    /// An id that the caller made is that of another event.
    #[error("an id is that of another event")]
    IdTaken,
    /// The account has no room for them this month.
    #[error("a quota of this month is used up")]
    Quota {
        /// Which quota.
        quota: Quota,
        /// The time until the next month.
        wait: Duration,
    },
    /// Too many requests of the account store events at once.
    #[error("too many requests of the account store events at once")]
    Busy,
    /// The task that stores them failed.
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    /// The plan cannot be read.
    #[error(transparent)]
    Plan(#[from] LoadError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Ids { fields } => {
                let message = "must be a UUIDv7 made within the last day";
                let fields = fields.into_iter();
                fields.fold(Self::new(Code::InvalidFields), |problem, field| {
                    problem.field(field, "invalid_value", message)
                })
            }
            Error::IdTaken => Self::new(Code::Conflict).detail("an id is that of another event"),
            Error::Quota { quota, wait } => {
                let (detail, field) = match quota {
                    Quota::EventBytes => (
                        "The bytes of events of this month are used up.",
                        "event_bytes",
                    ),
                    Quota::Events | Quota::Requests => {
                        ("The events of this month are used up.", "events")
                    }
                };
                Self::new(Code::QuotaExceeded)
                    .detail(detail)
                    .field(field, "quota_exceeded", "are used up")
                    .retry_after(wait)
            }
            Error::Busy => Self::new(Code::RateLimited)
                .detail("Other requests of this account are storing events."),
            Error::Task(source) => Self::internal(source),
            Error::Plan(source) => source.into(),
            Error::Database(source) => source.into(),
        }
    }
}
