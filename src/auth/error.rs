//! Errors of sign-up, sign-in and sessions, and their responses.

use std::time::Duration;

use crate::infra::{Busy, HashError, Unchecked};
use crate::metrics::{self, CsrfRefusal};
use crate::mfa;
use crate::web::{Code, Problem};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the address or the password is wrong")]
    InvalidCredentials,
    #[error("the address is not verified")]
    EmailNotVerified,
    /// The password was right, but an administrator has shut the account.
    #[error("the account is disabled")]
    AccountDisabled,
    /// Too many attempts have failed; the next one may come after so long.
    #[error("too many attempts have failed")]
    TooManyAttempts(Duration),
    #[error("the refresh token is good for nothing")]
    InvalidRefreshToken,
    /// The refresh cookie is of another session than the one that the calling page is in.
    #[error("the refresh token is of another session")]
    ForeignSession,
    #[error("one X-CSRF-Token header is needed")]
    NoCsrfToken,
    #[error("the sign-in is to begin anew")]
    InvalidMfaToken,
    #[error("the code is wrong")]
    InvalidMfaCode,
    /// A page that is not ours asks to sign somebody in by cookies.
    #[error("the call does not come from a page of ours")]
    ForeignPage,
    #[error(transparent)]
    Mfa(#[from] mfa::Error),
    /// The link is unknown, expired, or was used before.
    #[error("the link is good for nothing")]
    InvalidLink,
    /// The password that was to prove who is asking is wrong; the field that holds it.
    #[error("the password is wrong")]
    WrongPassword(&'static str),
    /// Several sign-ups with different passwords wait for the address to be confirmed; the field that is
    /// to hold the password of the one that is meant.
    #[error("the password of the sign-up is needed")]
    PasswordRequired(&'static str),
    /// The account's credentials changed between the proof and what it was for.
    #[error("the credentials changed meanwhile")]
    CredentialsChanged,
    /// The old address belongs to another account by now.
    #[error("the old address belongs to another account")]
    AddressTaken,
    /// The new password is little more than the account's address or the product's name; the field
    /// that holds it.
    #[error("the password is little more than the address or the product's name")]
    GuessablePassword(&'static str),
    /// The new password is known from a breach; the field that holds it.
    #[error("the password is known from a breach")]
    BreachedPassword(&'static str),
    /// Whether the new password is known from a breach cannot be told.
    #[error(transparent)]
    Unchecked(#[from] Unchecked),
    #[error("there is no such session")]
    SessionNotFound,
    /// Neither an access token nor a refresh token says which session is meant.
    #[error("nobody is signed in")]
    Unauthenticated,
    /// A limit of this account is spent.
    #[error("a limit of the account is spent")]
    Limited(Problem),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("a stored password hash cannot be read")]
    MalformedHash,
    #[error("a token could not be signed")]
    Signing(#[from] serde_json::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("a task died")]
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
            Error::TooManyAttempts(wait) => Self::new(Code::TooManyAttempts).retry_after(wait),
            Error::InvalidRefreshToken => Self::new(Code::InvalidRefreshToken),
            Error::ForeignSession => csrf_refused(
                CsrfRefusal::Token,
                "the X-CSRF-Token is not of this session",
            ),
            Error::NoCsrfToken => {
                csrf_refused(CsrfRefusal::Token, "one X-CSRF-Token header is needed")
            }
            Error::InvalidMfaToken => Self::new(Code::InvalidMfaToken),
            Error::InvalidMfaCode => Self::new(Code::InvalidMfaCode),
            Error::ForeignPage => csrf_refused(
                CsrfRefusal::Page,
                "the call does not come from a page that may act for its reader",
            ),
            Error::Mfa(error) => error.into(),
            Error::InvalidLink => Self::new(Code::InvalidToken),
            Error::WrongPassword(field) => Self::new(Code::InvalidFields).field(
                field,
                "wrong_password",
                "is not your password",
            ),
            Error::PasswordRequired(field) => Self::new(Code::InvalidFields).field(
                field,
                "password_required",
                "is required: several sign-ups wait for this address, and it says which one is yours",
            ),
            Error::CredentialsChanged => Self::new(Code::Conflict)
                .detail("your credentials changed while this request ran: sign in again"),
            Error::AddressTaken => Self::new(Code::Conflict)
                .detail("another account has this address by now: contact support"),
            Error::GuessablePassword(field) => Self::new(Code::InvalidFields).field(
                field,
                "too_guessable",
                "is little more than your address or the name of this product",
            ),
            Error::BreachedPassword(field) => Self::new(Code::InvalidFields).field(
                field,
                "breached",
                "is known from a breach of another service",
            ),
            Error::Unchecked(_) => Self::new(Code::Unavailable).retry_after(Duration::from_secs(5)),
            Error::SessionNotFound => Self::new(Code::NotFound),
            Error::Unauthenticated => Self::new(Code::Unauthenticated),
            Error::Limited(problem) => problem,
            Error::Busy(_) => Self::new(Code::Busy).retry_after(Duration::from_secs(2)),
            Error::Database(source) => source.into(),
            Error::MalformedHash | Error::Signing(_) | Error::Task(_) => Self::internal(error),
        }
    }
}

fn csrf_refused(reason: CsrfRefusal, detail: &'static str) -> Problem {
    metrics::count_csrf_refusal(reason);
    Problem::new(Code::CsrfRefused).detail(detail)
}
