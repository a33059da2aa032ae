//! Errors of API keys, and their responses.

use http_toolkit::Problem;

use crate::auth;
use crate::roles::PermissionDenied;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such key")]
    NotFound,
    #[error("the account has {0} keys")]
    TooMany(u32),
    #[error("the lifetime exceeds {0} seconds")]
    TooLong(u64),
    #[error("a key of an organisation cannot reach a profile")]
    NoProfile,
    #[error("the account is gone")]
    NoAccount,
    #[error(transparent)]
    PermissionDenied(#[from] PermissionDenied),
    #[error("the key has expired")]
    Expired,
    #[error("the previous secret still works")]
    Overlapping,
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound | Error::NoAccount => Self::new(Code::NotFound),
            Error::NoProfile => Self::new(Code::InvalidFields).field(
                "scopes",
                "invalid_value",
                "of an organisation's key cannot include users:read and users:write",
            ),
            Error::PermissionDenied(error) => error.into(),
            Error::TooMany(most) => Self::new(Code::TooManyApiKeys)
                .detail(format!("an account can have {most} keys: revoke one first")),
            Error::TooLong(most) => Self::new(Code::InvalidFields).field(
                "expires_in",
                "invalid_value",
                format!("must be at most {most} seconds"),
            ),
            Error::Expired => {
                Self::new(Code::Conflict).detail("the key has expired: create another one")
            }
            Error::Overlapping => Self::new(Code::Conflict)
                .detail("the previous secret still works; an overlap of 0 ends it at once"),
            Error::Auth(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
