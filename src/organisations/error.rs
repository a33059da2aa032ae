//! Errors of organisations and their members, and their responses.

use http_toolkit::Problem;

use crate::auth;
use crate::roles::PermissionDenied;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such organisation, member or invitation")]
    NotFound,
    #[error("the user owns {0} organisations")]
    TooMany(u32),
    #[error("the slug is taken")]
    SlugTaken,
    #[error("no owner would be left")]
    LastOwner,
    #[error(transparent)]
    PermissionDenied(#[from] PermissionDenied),
    #[error(transparent)]
    Plan(#[from] cache::LoadError),
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::TooMany(most) => Self::new(Code::TooManyOrganisations)
                .detail(format!("Your plan includes {most} organisations.")),
            Error::SlugTaken => Self::new(Code::SlugTaken).field("slug", "taken", "is taken"),
            Error::LastOwner => Self::new(Code::LastOwner)
                .detail("Make another member an owner first, or delete the organisation."),
            Error::PermissionDenied(error) => error.into(),
            Error::Plan(error) => error.into(),
            Error::Auth(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
