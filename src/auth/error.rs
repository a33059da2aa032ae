//! Errors of sign-up, sign-in and sessions, and their responses.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use crypto::{Busy, HashError};
use http_toolkit::Problem;
use password_checks::Unchecked;

use crate::consents;
use crate::metrics::{self, CsrfRefusal};
use crate::mfa;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the address or the password is wrong")]
    InvalidCredentials,
    #[error("the address is not verified")]
    EmailNotVerified,
    #[error("the account is disabled")]
    AccountDisabled,
    /// With the time at which the account is erased.
    #[error("the account is going to be deleted")]
    DeletionPending(DateTime<Utc>),
    /// With the time until the next attempt.
    #[error("too many attempts have failed")]
    TooManyAttempts(Duration),
    #[error("the refresh token is not valid")]
    InvalidRefreshToken,
    /// The session has ended for it.
    #[error("the refresh token was used before")]
    ReusedRefreshToken,
    /// The CSRF token and the refresh token belong to different sessions.
    #[error("the X-CSRF-Token belongs to another session")]
    ForeignSession,
    #[error("exactly one X-CSRF-Token header is required")]
    NoCsrfToken,
    #[error("the pending sign-in is unknown or expired")]
    InvalidMfaToken,
    #[error("the code is wrong")]
    InvalidMfaCode,
    #[error("the request comes from a page of an origin that is not allowed")]
    ForeignPage,
    #[error(transparent)]
    Mfa(#[from] mfa::Error),
    #[error(transparent)]
    Consents(#[from] consents::Error),
    #[error("the link is unknown, used or expired")]
    InvalidLink,
    /// With the name of the request field.
    #[error("the password is wrong")]
    WrongPassword(&'static str),
    /// Several sign-ups with different passwords are pending; with the field that selects one.
    #[error("the password of the sign-up is required")]
    PasswordRequired(&'static str),
    /// Between the proof and the change.
    #[error("your credentials changed during this request: sign in again")]
    CredentialsChanged,
    #[error("the old address belongs to another account now: contact support")]
    AddressTaken,
    /// With the name of the request field.
    #[error("the password consists mostly of the address or the product's name")]
    GuessablePassword(&'static str),
    /// With the name of the request field.
    #[error("the password is known from a breach")]
    BreachedPassword(&'static str),
    #[error(transparent)]
    Unchecked(#[from] Unchecked),
    #[error("there is no such session")]
    SessionNotFound,
    #[error("the request is not authenticated")]
    Unauthenticated,
    #[error("a rate limit of the account is used up")]
    Limited(Problem),
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Other attempts at the same account are in progress.
    #[error("other attempts are in progress")]
    Occupied,
    #[error("a stored password hash cannot be read")]
    MalformedHash,
    #[error("a token cannot be signed")]
    Signing(#[from] serde_json::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("a task panicked")]
    Task(#[from] tokio::task::JoinError),
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy(busy) => Self::Busy(busy),
            HashError::Malformed => Self::MalformedHash,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCredentials => Self::new(Code::InvalidCredentials),
            Error::EmailNotVerified => Self::new(Code::EmailNotVerified),
            Error::AccountDisabled => Self::new(Code::AccountDisabled),
            Error::DeletionPending(at) => Self::new(Code::AccountDeletionPending).detail(format!(
                "it will be deleted at {}; POST /auth/cancel-deletion with your credentials cancels that",
                at.to_rfc3339_opts(SecondsFormat::Secs, true)
            )),
            Error::TooManyAttempts(wait) => Self::new(Code::TooManyAttempts).retry_after(wait),
            Error::InvalidRefreshToken | Error::ReusedRefreshToken => {
                Self::new(Code::InvalidRefreshToken)
            }
            Error::ForeignSession | Error::NoCsrfToken => csrf_refused(CsrfRefusal::Token, &error),
            Error::InvalidMfaToken => Self::new(Code::InvalidMfaToken),
            Error::InvalidMfaCode => Self::new(Code::InvalidMfaCode),
            Error::ForeignPage => csrf_refused(CsrfRefusal::Page, &error),
            Error::Mfa(error) => error.into(),
            Error::Consents(error) => error.into(),
            Error::InvalidLink => Self::new(Code::InvalidToken),
            Error::WrongPassword(field) => invalid(field, "wrong_password", "is not your password"),
            Error::PasswordRequired(field) => invalid(
                field,
                "password_required",
                "is required: several sign-ups are pending for this address, and it selects yours",
            ),
            Error::CredentialsChanged | Error::AddressTaken => {
                Self::new(Code::Conflict).detail(error.to_string())
            }
            Error::GuessablePassword(field) => invalid(
                field,
                "too_guessable",
                "consists mostly of your email address or the name of this product",
            ),
            Error::BreachedPassword(field) => invalid(
                field,
                "breached",
                "is known from a breach of another service",
            ),
            Error::Unchecked(_) => Self::new(Code::Unavailable).retry_after(Duration::from_secs(5)),
            Error::SessionNotFound => Self::new(Code::NotFound),
            Error::Unauthenticated => Self::new(Code::Unauthenticated),
            Error::Limited(problem) => problem,
            Error::Busy(busy) => Self::new(Code::Busy)
                .detail("too many passwords are being checked: try again after Retry-After")
                .own_retry_after(busy.retry_after),
            Error::Occupied => Self::new(Code::Busy).retry_after(Duration::from_secs(2)),
            Error::Database(source) => source.into(),
            Error::MalformedHash | Error::Signing(_) | Error::Task(_) => Self::internal(error),
        }
    }
}

fn invalid(field: &'static str, code: &'static str, message: &'static str) -> Problem {
    Problem::new(Code::InvalidFields).field(field, code, message)
}

fn csrf_refused(reason: CsrfRefusal, error: &Error) -> Problem {
    metrics::count_csrf_refusal(reason);
    Problem::new(Code::CsrfRefused).detail(error.to_string())
}
