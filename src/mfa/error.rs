//! What can go wrong with a second factor, and how it looks from outside.

use std::time::Duration;

use qrcode::types::QrError;

use crate::infra::OpenError;
use crate::web::{Code, Problem};

/// What can go wrong with a second factor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a code nor a recovery code was given, or both.
    #[error("one code is needed")]
    ExactlyOneCode,
    /// The password alone will not do: the account has a second factor.
    #[error("the second factor is to be shown as well")]
    CodeRequired,
    /// The code is wrong, or was used before; the field that holds it.
    #[error("the code is wrong")]
    WrongCode(&'static str),
    /// Too many wrong codes were given for this account; how long none is tried.
    #[error("too many wrong codes")]
    TooManyFailures(Duration),
    /// The account has a second factor.
    #[error("the second factor is on")]
    AlreadyEnabled,
    /// The account has no second factor.
    #[error("the second factor is off")]
    NotEnabled,
    /// No authenticator waits to be confirmed.
    #[error("no authenticator waits to be confirmed")]
    NoPendingAuthenticator,
    /// What is stored cannot be opened.
    #[error("a stored secret cannot be opened")]
    Decryption(#[from] OpenError),
    /// The picture cannot be drawn.
    #[error("the QR code cannot be drawn")]
    QrCode(#[from] QrError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let invalid =
            |field, code, message| Self::new(Code::InvalidFields).field(field, code, message);
        let conflict = |detail| Self::new(Code::Conflict).detail(detail);
        match error {
            Error::ExactlyOneCode => invalid(
                "code",
                "required",
                "either this or recovery_code is required",
            ),
            Error::CodeRequired => invalid(
                "code",
                "mfa_code_required",
                "either this or recovery_code is required, as the account has a second factor",
            ),
            Error::WrongCode(field) => invalid(field, "wrong_code", "is wrong, or was used before"),
            Error::TooManyFailures(wait) => Self::new(Code::TooManyAttempts).retry_after(wait),
            Error::AlreadyEnabled => conflict("the second factor is on: turn it off first"),
            Error::NotEnabled => conflict("the second factor is off"),
            Error::NoPendingAuthenticator => {
                conflict("no authenticator waits to be confirmed: begin anew")
            }
            Error::Database(source) => source.into(),
            Error::Decryption(_) | Error::QrCode(_) => Self::internal(error),
        }
    }
}
