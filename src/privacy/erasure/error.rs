//! Errors of the deletion of accounts, and their responses.

use http_toolkit::Problem;
use object_store::StoreError;

use crate::web::Code;
use crate::{auth, billing, customers, users};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the address has no account")]
    NotFound,
    #[error("you are the last administrator: make somebody else one first")]
    LastAdmin,
    #[error("you are the last owner of an organisation: transfer or delete it first")]
    LastOwner,
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Billing(#[from] billing::Error),
    #[error(transparent)]
    Customer(#[from] customers::Error),
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<users::Error> for Error {
    fn from(error: users::Error) -> Self {
        match error {
            users::Error::Database(error) => error.into(),
            users::Error::NotFound | users::Error::EmailTaken => Self::NotFound,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            // The caller's own account.
            Error::NotFound => Self::new(Code::Unauthenticated),
            Error::LastAdmin => Self::new(Code::LastAdmin).detail(error.to_string()),
            Error::LastOwner => Self::new(Code::LastOwner).detail(error.to_string()),
            Error::Auth(error) => error.into(),
            Error::Database(error) => error.into(),
            Error::Store(_)
            | Error::Billing(_)
            | Error::Customer(_)
            | Error::MissingExtension(_) => Self::internal(error),
        }
    }
}
