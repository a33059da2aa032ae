//! Errors of avatars, and their responses.

use std::time::Duration;

use http_toolkit::Problem;
use object_store::StoreError;
use pictures::PictureError;

use crate::users;
use crate::web::Code;

/// After which a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no such picture")]
    NotFound,
    #[error("the type is not that of a picture")]
    Type,
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("too many uploads")]
    Limited(Problem),
    #[error("too many pictures are being decoded")]
    Busy,
    #[error("the task that decodes a picture failed")]
    Task(#[from] tokio::task::JoinError),
    #[error("storage is not configured")]
    NotConfigured,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    User(#[from] users::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::Type => Self::new(Code::UnsupportedMediaType)
                .detail("Send image/png, image/jpeg or image/webp."),
            Error::Picture(error) => Self::new(Code::InvalidImage).detail(error.to_string()),
            Error::Limited(problem) => problem,
            Error::Busy => Self::new(Code::Busy).retry_after(RETRY_AFTER),
            Error::Task(error) => Self::internal(error),
            Error::NotConfigured => Self::new(Code::StorageNotConfigured).retry_after(RETRY_AFTER),
            Error::Store(error) => {
                tracing::warn!(%error, "an avatar cannot be reached");
                Self::new(Code::StorageUnavailable).retry_after(RETRY_AFTER)
            }
            Error::User(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
