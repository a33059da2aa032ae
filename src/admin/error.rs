//! Errors of account administration, and their responses.

use http_toolkit::Problem;

use crate::auth;
use crate::users;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("there is no such account or organisation")]
    NotFound,
    #[error("the caller is no longer an administrator")]
    NoLongerAdmin,
    #[error("no administrator would be left")]
    LastAdmin,
    #[error("administrators cannot disable their own account")]
    OwnAccount,
    #[error("the address is not verified")]
    NotVerified,
    #[error("the account is disabled")]
    Disabled,
    #[error("there is nothing to change")]
    NothingToChange,
    #[error("a reason requires disabled: true")]
    ReasonWithoutDisabling,
    #[error("the password is required")]
    PasswordRequired,
    #[error(transparent)]
    Plan(#[from] cache::LoadError),
    #[error(transparent)]
    Auth(#[from] auth::Error),
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
            Error::OwnAccount => conflict("you cannot disable your own account"),
            Error::NotVerified => conflict("the account's email address is not verified"),
            Error::Disabled => conflict("a disabled account cannot become an administrator"),
            Error::NothingToChange => {
                invalid("", "required", "one of `role` and `disabled` is required")
            }
            Error::ReasonWithoutDisabling => {
                invalid("reason", "invalid", "is only allowed with `disabled: true`")
            }
            Error::PasswordRequired => invalid(
                "password",
                "password_required",
                "is required for this change, with a code if you have a second factor",
            ),
            Error::Plan(error) => error.into(),
            Error::Auth(error) => error.into(),
            Error::Database(source) => source.into(),
        }
    }
}
