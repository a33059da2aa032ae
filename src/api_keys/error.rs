//! What can go wrong with a key, and how it looks from outside.

use crate::auth;
use crate::web::{Code, Problem};

/// What can go wrong with a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such key of this account, or it was revoked.
    #[error("there is no such key")]
    NotFound,
    /// The account has as many living keys as it may have.
    #[error("the account has {0} keys")]
    TooMany(u32),
    /// The key is to live longer than any may; the most, in seconds.
    #[error("the key is to live longer than {0} seconds")]
    TooLong(u64),
    /// The key has expired, so that there is nothing to rotate.
    #[error("the key has expired")]
    Expired,
    /// The secret before the present one still works.
    #[error("the secret before the present one still works")]
    Overlapping,
    /// The owner could not be asked for the password, or did not know it.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::TooMany(most) => Self::new(Code::TooManyApiKeys).detail(format!(
                "an account has {most} keys at most: revoke one first"
            )),
            Error::TooLong(most) => Self::new(Code::InvalidFields).field(
                "expires_in",
                "invalid_value",
                format!("must be at most {most} seconds"),
            ),
            Error::Expired => {
                Self::new(Code::Conflict).detail("the key has expired: make another one")
            }
            Error::Overlapping => Self::new(Code::Conflict).detail(
                "the secret before the present one still works; an overlap of 0 ends it at once",
            ),
            Error::Auth(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
