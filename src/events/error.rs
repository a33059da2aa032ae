//! What can go wrong with an event, and how it looks from outside.

use crate::web::{Code, Problem};

/// What can go wrong with an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Ids that the caller made are not `UUIDv7` of about now.
    #[error("an id is no UUIDv7 of about now")]
    Ids {
        /// Where they were read.
        fields: Vec<String>,
    },
    /// An id that the caller made is that of another event.
    #[error("an id is that of another event")]
    IdTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Ids { fields } => {
                let message = "must be a UUIDv7 made within the last day";
                let fields = fields.into_iter();
                fields.fold(Self::new(Code::InvalidFields), |problem, field| {
                    problem.field(field, "invalid_value", message)
                })
            }
            Error::IdTaken => Self::new(Code::Conflict).detail("an id is that of another event"),
            Error::Database(source) => source.into(),
        }
    }
}
