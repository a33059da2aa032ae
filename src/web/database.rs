//! What a failing database looks like from outside: away or busy is a 503 that invites a retry,
//! anything else a 500.

use crate::infra::db::is_outage;

use super::problem::{Code, Problem};

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_outage(&error) {
            tracing::warn!(error = %error, "the database is not available");
            return Self::new(Code::Unavailable);
        }
        Self::internal(error)
    }
}
