//! Errors of exports, and their responses.

use std::time::Duration;

use http_toolkit::Problem;
use object_store::StoreError;
use zip_parts::ArchiveError;

use crate::auth;
use crate::web::Code;

/// After which a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such export")]
    NotFound,
    #[error("an export is being made")]
    InProgress,
    /// With the time until the next one.
    #[error("an export was made within the last day")]
    TooSoon(Duration),
    #[error("the archive is larger than the database may keep")]
    TooLarge,
    #[error("the archive is in an object store, which is not configured")]
    NoStore,
    #[error("the file cannot be written")]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::InProgress => Self::new(Code::ExportInProgress),
            Error::TooSoon(wait) => Self::new(Code::RateLimited)
                .retry_after(wait)
                .detail("One export a day can be made."),
            Error::NoStore => Self::new(Code::StorageNotConfigured).retry_after(RETRY_AFTER),
            Error::Store(error) => {
                tracing::warn!(%error, "an export cannot be reached");
                Self::new(Code::StorageUnavailable).retry_after(RETRY_AFTER)
            }
            Error::Auth(error) => error.into(),
            Error::Database(error) => error.into(),
            Error::TooLarge | Error::Output(_) | Error::Archive(_) => Self::internal(error),
        }
    }
}
