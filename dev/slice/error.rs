//! Errors of sample items, and their responses.

use http_toolkit::Problem;

use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such sample item")]
    NotFound,
    #[error("the account is gone")]
    NoAccount,
    #[error("the account has {0} sample items")]
    TooMany(u32),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound | Error::NoAccount => Self::new(Code::NotFound),
            Error::TooMany(most) => Self::new(Code::TooManySampleItems).detail(format!(
                "an account can have {most} sample items: delete one first"
            )),
            Error::Database(error) => error.into(),
        }
    }
}
