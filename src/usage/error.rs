//! What can go wrong when counts are written.

use crate::infra::db::is_outage;
use crate::metrics::CallOutcome;

/// Why counts could not be written; they are kept, and written the next time.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The database refused, or is away.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The database did not answer in time; what was sent may be written all the same.
    #[error("the database did not answer in time")]
    Timeout,
}

impl FlushError {
    pub(super) fn outcome(&self) -> CallOutcome {
        match self {
            Self::Timeout => CallOutcome::Timeout,
            Self::Database(error) if is_outage(error) => CallOutcome::Unreachable,
            Self::Database(_) => CallOutcome::Refused,
        }
    }
}
