//! Errors of the copy.

use object_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error("STORAGE_BUCKET is not set")]
    NoStore,
    #[error("STORAGE_COPY_BUCKET is not set")]
    NoCopy,
    #[error("another process copies the objects now")]
    Busy,
    #[error("the bucket of the copy has the copy of {found}, and STORAGE_BUCKET is {expected}")]
    OtherOriginal { found: String, expected: String },
    #[error("{gone} of {copies} copies are gone from the store: is it the bucket that was copied?")]
    Strange { gone: u64, copies: u64 },
    #[error("{failed} objects could not be copied, the first of them {first}")]
    Incomplete { failed: u64, first: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("groundwork-copy.json in the bucket of the copy cannot be read")]
    Marker(#[from] serde_json::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
