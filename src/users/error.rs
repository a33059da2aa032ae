//! What can go wrong with a profile, and how it looks from outside.

use crate::web::{Code, Problem};

/// What can go wrong with a profile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such account, or no longer.
    #[error("there is no such account")]
    NotFound,
    /// The address belongs to another account.
    #[error("the address belongs to another account")]
    EmailTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            // One's own account is gone: the token that led here is good for nothing any more.
            Error::NotFound => Self::new(Code::Unauthenticated),
            Error::EmailTaken => Self::new(Code::Conflict),
            Error::Database(source) => source.into(),
        }
    }
}
