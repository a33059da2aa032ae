//! Errors of events, mapped to HTTP.

use std::time::Duration;

use cache::LoadError;
use http_toolkit::Problem;

use crate::metrics::Quota;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Ids from the caller are no `UUIDv7` of the last day.
    #[error("an id is no UUIDv7 of the last day")]
    Ids {
        /// Paths in the body.
        fields: Vec<String>,
    },
    #[error("an id is that of another event")]
    IdTaken,
    #[error("a quota of this month is used up")]
    Quota {
        quota: Quota,
        /// Until the next month.
        wait: Duration,
    },
    #[error("too many requests of the account store events at once")]
    Busy,
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Plan(#[from] LoadError),
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
