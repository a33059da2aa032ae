//! Errors of files, and their responses.

use std::time::Duration;

use cache::LoadError;
use http_toolkit::Problem;
use object_store::StoreError;

use crate::web::Code;

/// After which a client may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no such file")]
    NotFound,
    #[error("the account is gone")]
    NoAccount,
    #[error("the type is not allowed, or the first bytes are of another one")]
    TypeNotAllowed,
    #[error("a file may have {0} bytes")]
    TooLarge(u64),
    #[error("the account has {0} files")]
    TooMany(u32),
    #[error("the account may store {0} bytes")]
    Full(u64),
    #[error("the bytes have not arrived")]
    UploadMissing,
    #[error("other bytes have arrived")]
    UploadDiffers,
    #[error("the upload has expired")]
    UploadExpired,
    #[error("the file of a form has another size than announced")]
    SizeDiffers,
    #[error("the file of a form has another hash than announced")]
    HashDiffers,
    #[error("the form cannot be read, or is none of a file")]
    Form(Problem),
    #[error("the range is beyond the end of a file of {0} bytes")]
    Range(i64),
    #[error("the file waits for the virus scanner")]
    Scanning,
    #[error("the file is infected")]
    Infected,
    #[error("too many uploads")]
    Limited(Problem),
    #[error("storage is not configured")]
    NotConfigured,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Plan(#[from] LoadError),
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound | Error::NoAccount => Self::new(Code::NotFound),
            Error::TypeNotAllowed => Self::new(Code::FileTypeNotAllowed),
            Error::TooLarge(most) => Self::new(Code::PayloadTooLarge)
                .detail(format!("a file of this plan may have {most} bytes")),
            Error::TooMany(most) => Self::new(Code::TooManyFiles)
                .detail(format!("the plan has {most} files: delete one first")),
            Error::Full(most) => Self::new(Code::StorageFull)
                .detail(format!("the plan has {most} bytes: delete files first")),
            Error::UploadMissing => Self::new(Code::UploadMissing),
            Error::UploadDiffers => Self::new(Code::UploadDiffers),
            Error::UploadExpired => Self::new(Code::UploadExpired),
            Error::Range(size) => {
                Self::new(Code::RangeNotSatisfiable).detail(format!("the file has {size} bytes"))
            }
            Error::SizeDiffers => invalid("size", "is not the size of the file"),
            Error::HashDiffers => invalid("sha256", "is not the hash of the file"),
            Error::Limited(problem) | Error::Form(problem) => problem,
            Error::Scanning => Self::new(Code::FileScanning).retry_after(RETRY_AFTER),
            Error::Infected => Self::new(Code::FileInfected),
            Error::NotConfigured => Self::new(Code::StorageNotConfigured).retry_after(RETRY_AFTER),
            Error::Store(error) => {
                if let StoreError::Unavailable(_) = error {
                    tracing::warn!(%error, "a file cannot be reached");
                } else {
                    tracing::error!(%error, "a file cannot be reached");
                }
                Self::new(Code::StorageUnavailable).retry_after(RETRY_AFTER)
            }
            Error::Task(error) => Self::internal(error),
            Error::Plan(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}

/// A field of a form has a value that it must not have.
pub(super) fn invalid(field: &'static str, message: &'static str) -> Problem {
    Problem::new(Code::InvalidFields).field(field, "invalid", message)
}

/// A form lacks a field.
pub(super) fn missing(field: &'static str, message: &'static str) -> Problem {
    Problem::new(Code::InvalidFields).field(field, "required", message)
}
