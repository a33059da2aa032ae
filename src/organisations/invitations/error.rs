//! Errors of invitations, and their responses.

use http_toolkit::Problem;

use crate::organisations::error::Error as OrganisationError;
use crate::roles::PermissionDenied;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Unknown, expired, revoked or used, for another address, or of an organisation that is deleted: all alike.
    #[error("the invitation is not valid")]
    Invalid,
    #[error("all seats of the plan are taken")]
    NoSeats,
    #[error("the organisation has {0} open invitations")]
    TooMany(u32),
    #[error("the address is that of a member")]
    AlreadyMember,
    #[error("the address is that of the caller")]
    Oneself,
    #[error("a rate limit of the organisation is used up")]
    Limited(Problem),
    #[error(transparent)]
    Organisation(#[from] OrganisationError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<PermissionDenied> for Error {
    fn from(error: PermissionDenied) -> Self {
        Self::Organisation(error.into())
    }
}

impl From<cache::LoadError> for Error {
    fn from(error: cache::LoadError) -> Self {
        Self::Organisation(error.into())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid => Self::new(Code::InvalidInvitation),
            Error::NoSeats => Self::new(Code::NoSeats)
                .detail("Members and open invitations take all seats of the organisation's plan."),
            Error::TooMany(most) => Self::new(Code::TooManyInvitations).detail(format!(
                "An organisation can have {most}: revoke one first."
            )),
            Error::AlreadyMember => Self::new(Code::AlreadyMember),
            Error::Oneself => {
                Self::new(Code::InvalidFields).field("email", "own_address", "is your own address")
            }
            Error::Limited(problem) => problem,
            Error::Organisation(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
