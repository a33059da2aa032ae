//! Errors of secrets, and their responses.

use cache::LoadError;
use http_toolkit::Problem;

use crate::auth;
use crate::sealed::DecryptionError;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such secret")]
    NotFound,
    #[error("the account has {0} secrets")]
    TooMany(u32),
    #[error("the secret has changed, exists or does not exist, against the request's condition")]
    PreconditionFailed,
    #[error("the version is not kept")]
    VersionNotKept,
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Decryption(#[from] DecryptionError),
    #[error(transparent)]
    Plan(#[from] LoadError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::TooMany(most) => Self::new(Code::TooManySecrets).detail(format!(
                "the plan includes {most} secrets: delete one first"
            )),
            Error::PreconditionFailed => Self::new(Code::PreconditionFailed),
            Error::VersionNotKept => {
                Self::new(Code::InvalidFields).field("version", "invalid_value", "is not kept")
            }
            Error::Auth(error) => error.into(),
            Error::Decryption(error) => Self::internal(error),
            Error::Plan(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
