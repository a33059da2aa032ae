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
    #[error("an organisation's key has no scope of its creator's profile")]
    ProfileScope,
    #[error(transparent)]
    Denied(#[from] PermissionDenied),
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
            Error::NotFound => Self::new(Code::NotFound),
            Error::TooMany(most) => Self::new(Code::TooManyApiKeys)
                .detail(format!("an account can have {most} keys: revoke one first")),
            Error::TooLong(most) => Self::new(Code::InvalidFields).field(
                "expires_in",
                "invalid_value",
                format!("must be at most {most} seconds"),
            ),
            Error::ProfileScope => Self::new(Code::InvalidFields).field(
                "scopes",
                "invalid_value",
                "must not have users:read or users:write: the key of an organisation has no profile",
            ),
            Error::Denied(denied) => denied.into(),
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
