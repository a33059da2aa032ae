//! Errors of users, and their responses.

use http_toolkit::Problem;

use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such account")]
    NotFound,
    #[error("the address belongs to another account")]
    EmailTaken,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            // The caller's own account is gone, so the access token is not valid any more.
            Error::NotFound => Self::new(Code::Unauthenticated),
            Error::EmailTaken => Self::new(Code::Conflict),
            Error::Database(source) => source.into(),
        }
    }
}
