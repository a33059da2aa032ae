//! What a failing database looks like from outside: away or busy is a 503 that invites a retry,
//! anything else a 500.

use crate::infra::LoadError;
use crate::infra::db::{Pulse, is_outage};

use super::code::Code;
use super::problem::{Answer, Problem};

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        failed(&error)
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Database(error) => failed(&error),
            LoadError::Json(error) => Self::internal(error),
        }
    }
}

fn failed(error: &sqlx::Error) -> Problem {
    if is_outage(error) {
        tracing::warn!(%error, "the database is not available");
        return Problem::new(Code::Unavailable);
    }
    Problem::internal(error)
}

/// Answers 503 as soon as the database is silent, for a request that would wait for it.
pub async fn unless_silent(pulse: &Pulse, answer: impl Future<Output = Answer>) -> Answer {
    tokio::select! {
        biased;
        answer = answer => answer,
        () = pulse.silenced() => Err(Problem::new(Code::Unavailable)),
    }
}
