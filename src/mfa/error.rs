//! Errors of second factors, and their responses.

use std::time::Duration;

use http_toolkit::Problem;
use mfa_codes::{NotOne, QrError};

use crate::sealed::DecryptionError;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    NotOne(#[from] NotOne),
    #[error("a code of the second factor is required")]
    CodeRequired,
    #[error("the code is wrong")]
    WrongCode(&'static str),
    #[error("too many wrong codes")]
    TooManyFailures(Duration),
    #[error("the second factor is already on")]
    AlreadyEnabled,
    #[error("the second factor is off")]
    NotEnabled,
    #[error("no authenticator app is waiting to be confirmed")]
    NoPendingAuthenticator,
    #[error(transparent)]
    Decryption(#[from] DecryptionError),
    #[error("the QR code cannot be drawn")]
    QrCode(#[from] QrError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let invalid =
            |field, code, message| Self::new(Code::InvalidFields).field(field, code, message);
        let conflict = |detail| Self::new(Code::Conflict).detail(detail);
        match error {
            Error::NotOne(_) => invalid(
                "code",
                "required",
                "either this or recovery_code is required",
            ),
            Error::CodeRequired => invalid(
                "code",
                "mfa_code_required",
                "either this or recovery_code is required: the account has a second factor",
            ),
            Error::WrongCode(field) => invalid(field, "wrong_code", "is wrong or already used"),
            Error::TooManyFailures(wait) => Self::new(Code::TooManyAttempts).retry_after(wait),
            Error::AlreadyEnabled => conflict("the second factor is already on: turn it off first"),
            Error::NotEnabled => conflict("the second factor is off"),
            Error::NoPendingAuthenticator => {
                conflict("no authenticator app is waiting to be confirmed: start again")
            }
            Error::Database(source) => source.into(),
            Error::Decryption(_) | Error::QrCode(_) => Self::internal(error),
        }
    }
}
