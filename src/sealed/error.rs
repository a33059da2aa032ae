//! Errors of sealed values.

use crypto::OpenError;
use job_queue::MissingExtension;

/// A stored value cannot be decrypted.
#[derive(Debug, thiserror::Error)]
#[error("{column}: {source}")]
pub struct DecryptionError {
    pub(super) column: String,
    pub(super) source: OpenError,
}

#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    #[error(transparent)]
    MissingExtension(#[from] MissingExtension),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(
        "{undecryptable} value(s) cannot be decrypted, {remaining} value(s) are still under another key than the first"
    )]
    Incomplete { undecryptable: u64, remaining: u64 },
}
