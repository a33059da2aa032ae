//! Errors of the start page, and their responses.

use http_toolkit::Problem;

use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no job with this id has failed")]
    NotFound,
    #[error("a worker runs the job")]
    Running,
    #[error("the request is from a page of another site")]
    ForeignPage,
    #[error("START_PAGE_FILE cannot be used")]
    LinksFile,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound).detail("No job with this id has failed."),
            Error::Running => Self::new(Code::Conflict).detail("The job is running."),
            Error::ForeignPage => {
                Self::new(Code::CsrfRefused).detail("Only the start page itself may retry jobs.")
            }
            Error::LinksFile => Self::internal(error),
            Error::Database(error) => error.into(),
        }
    }
}
