//! Errors of billing, and their responses.

use http_toolkit::Problem;
use stripe_client::CallError;

use crate::web::Code;
use crate::{customers, organisations, payments};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the account has a subscription")]
    AlreadySubscribed,
    #[error("the account has no subscription")]
    NothingToCancel,
    #[error("no cancellation is scheduled")]
    NothingToResume,
    #[error("the account has no customer at Stripe")]
    NothingToManage,
    /// By the plan or by the interval.
    #[error("the plan is not for sale")]
    NotForSale { field: &'static str },
    #[error("the body is no event")]
    NotAnEvent,
    /// Of a job.
    #[error(transparent)]
    MissingExtension(#[from] job_queue::MissingExtension),
    #[error("the call is in progress in another request")]
    InProgress,
    #[error("a newer read of Stripe was stored each time")]
    Overtaken,
    #[error(transparent)]
    Customer(#[from] customers::Error),
    #[error(transparent)]
    Payment(#[from] payments::Error),
    #[error(transparent)]
    Seats(#[from] organisations::Error),
    #[error(transparent)]
    Plan(#[from] cache::LoadError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// Returns whether Stripe does not have the object.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Customer(customers::Error::Stripe(error)) if error.is_missing())
    }

    /// Returns whether Stripe refused a call, so that repeating it is pointless.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Customer(customers::Error::Stripe(CallError::Refused(_)))
        )
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Customer(error.into())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::AlreadySubscribed => Self::new(Code::AlreadySubscribed)
                .detail("Change or end the subscription in the customer portal."),
            Error::NothingToCancel => Self::new(Code::NothingToCancel),
            Error::NothingToResume => Self::new(Code::NothingToResume),
            Error::NothingToManage => Self::new(Code::NothingToManage),
            Error::NotForSale { field } => {
                Self::new(Code::InvalidFields).field(field, "not_for_sale", "is not for sale")
            }
            Error::InProgress | Error::Overtaken => {
                Self::new(Code::BillingUnavailable).retry_after(std::time::Duration::from_secs(1))
            }
            Error::NotAnEvent => Self::new(Code::BadRequest),
            Error::MissingExtension(error) => {
                tracing::error!(%error, "a job's error in a request");
                Self::new(Code::Internal)
            }
            Error::Customer(error) => error.into(),
            Error::Payment(error) => error.into(),
            Error::Seats(error) => error.into(),
            Error::Plan(error) => error.into(),
            Error::Database(error) => error.into(),
        }
    }
}
