//! Errors of payments, and their responses.

use http_toolkit::Problem;
use stripe_client::CallError;

use crate::customers;
use crate::web::Code;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such payment")]
    NotFound,
    /// A field does not fit the settings or Stripe's rules.
    #[error("{field} {message}")]
    Field {
        field: &'static str,
        message: String,
    },
    #[error("the request has no idempotency key")]
    KeyRequired,
    #[error("another request has used this idempotency key")]
    KeyReused,
    #[error(transparent)]
    Customer(#[from] customers::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Customer(error.into())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::new(Code::NotFound),
            Error::Field { field, message } => {
                Self::new(Code::InvalidFields).field(field, "invalid_value", message)
            }
            Error::KeyRequired => Self::new(Code::IdempotencyKeyRequired),
            Error::KeyReused => Self::new(Code::IdempotencyKeyReused),
            Error::Customer(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
