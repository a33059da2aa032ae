//! Errors of calls to Stripe and of the customer, and their responses.

use std::time::Duration;

use http_toolkit::Problem;
use stripe_client::CallError;

use crate::web::Code;

/// Before a call that failed may be repeated, if Stripe does not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("billing is not configured")]
    NotConfigured,
    #[error("there is no such account")]
    NotFound,
    #[error(transparent)]
    Stripe(#[from] CallError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotConfigured => Self::new(Code::BillingNotConfigured),
            Error::NotFound => Self::new(Code::NotFound),
            Error::Stripe(CallError::Refused(refusal)) => {
                tracing::error!(%refusal, "Stripe refuses a call: the settings or the key do not fit the account at Stripe");
                Self::new(Code::BillingMisconfigured)
            }
            Error::Stripe(error) => {
                let after = match &error {
                    CallError::Unavailable { retry_after, .. } => *retry_after,
                    _ => None,
                };
                tracing::warn!(%error, "a call to Stripe failed");
                Self::new(Code::BillingUnavailable).retry_after(after.unwrap_or(RETRY_AFTER))
            }
            Error::Database(error) => error.into(),
        }
    }
}
