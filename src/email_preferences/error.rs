//! Errors of links that unsubscribe, and their responses.

use http_toolkit::Problem;

use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Also of an address that has changed: nobody learns which addresses have accounts.
    #[error("the link is not one of ours, or not for the address of the account")]
    UnknownLink,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownLink => Self::new(Code::NotFound).detail(
                "The link is not complete, or the address of the account has changed. Sign in to choose the emails that you get.",
            ),
            Error::Database(error) => error.into(),
        }
    }
}
