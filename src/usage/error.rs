//! Errors of writing counts.

use database::is_outage;

use crate::metrics::CallOutcome;

/// Counts could not be written. They are kept and written the next time.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The batch may have been written all the same.
    #[error("PostgreSQL did not respond in time")]
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
