//! What can go wrong with an event, and how it looks from outside.

use crate::web::{Code, Problem};

/// What can go wrong with an event.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// An id that the caller made is not a `UUIDv7` of about now.
    #[error("an id is no UUIDv7 of about now")]
    Id {
        /// Which one.
        field: String,
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
            Error::Id { field } => Self::new(Code::InvalidFields).field(
                field,
                "invalid_value",
                "must be a UUIDv7 made within the last day",
            ),
            Error::IdTaken => Self::new(Code::Conflict).detail("an id is that of another event"),
            Error::Database(source) => source.into(),
        }
    }
}
