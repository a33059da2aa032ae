//! What can go wrong while looking after accounts, and how it looks from outside.

use crate::auth;
use crate::users;
use crate::web::{Code, Problem};

/// What can go wrong while looking after accounts.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// Whoever asks has ceased to be an administrator meanwhile.
    #[error("whoever asks is no administrator any more")]
    NoLongerAdmin,
    /// Nobody would be left who may do this.
    #[error("nobody would be left who may look after accounts")]
    LastAdmin,
    /// Administrators do not shut themselves out.
    #[error("one's own account is not shut")]
    OwnAccount,
    /// An administrator's address is one that has been shown to be theirs.
    #[error("the address is not verified")]
    NotVerified,
    /// An account that is shut does not become an administrator's.
    #[error("the account is disabled")]
    Disabled,
    /// There is nothing to change.
    #[error("nothing is to be changed")]
    NothingToChange,
    /// A reason is given for something other than shutting an account.
    #[error("a reason is given and nothing is shut")]
    ReasonWithoutDisabling,
    /// The change takes a reauthentication, and no password is given.
    #[error("the password is needed")]
    PasswordRequired,
    /// The administrator could not be reauthenticated.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<users::Error> for Error {
    fn from(error: users::Error) -> Self {
        match error {
            users::Error::Database(source) => Self::Database(source),
            users::Error::NotFound | users::Error::EmailTaken => Self::NotFound,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let conflict = |detail: &'static str| Self::new(Code::Conflict).detail(detail);
        let invalid = |field: &'static str, code: &'static str, message: &'static str| {
            Self::new(Code::InvalidFields).field(field, code, message)
        };
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::NoLongerAdmin => Self::new(Code::Forbidden),
            Error::LastAdmin => Self::new(Code::LastAdmin),
            Error::OwnAccount => {
                conflict("your own account is for another administrator to disable")
            }
            Error::NotVerified => conflict("an administrator's address must be verified"),
            Error::Disabled => conflict("a disabled account cannot become an administrator's"),
            Error::NothingToChange => invalid("", "required", "must name `role` or `disabled`"),
            Error::ReasonWithoutDisabling => {
                invalid("reason", "invalid", "is only for `disabled: true`")
            }
            Error::PasswordRequired => invalid(
                "password",
                "password_required",
                "is required for this change, with a code where you have a second factor",
            ),
            Error::Auth(error) => error.into(),
            Error::Database(source) => source.into(),
        }
    }
}
