//! Errors of idempotency keys, and their responses.

use std::time::Duration;

use http_toolkit::Problem;

use crate::sealed::DecryptionError;
use crate::web::Code;

/// A request mostly ends within it.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the operation requires an idempotency key")]
    Required,
    #[error("the idempotency key is malformed")]
    Malformed,
    #[error("a request with this key runs")]
    InUse,
    #[error("another request has used this key")]
    Reused,
    #[error("the reply was too large")]
    ReplyUnavailable,
    #[error(transparent)]
    Decryption(#[from] DecryptionError),
    #[error(transparent)]
    Reserving(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Required => Self::new(Code::IdempotencyKeyRequired),
            Error::Malformed => Self::new(Code::BadRequest)
                .detail("the header Idempotency-Key must be 1 to 255 visible ASCII characters"),
            Error::InUse => Self::new(Code::IdempotencyKeyInUse).retry_after(RETRY_AFTER),
            Error::Reused => Self::new(Code::IdempotencyKeyReused),
            Error::ReplyUnavailable => Self::new(Code::IdempotencyReplyUnavailable),
            Error::Decryption(error) => Self::internal(error),
            Error::Reserving(error) => Self::internal(error),
            Error::Database(error) => error.into(),
        }
    }
}
