//! Replies to database errors: away or busy is a 503 that invites a retry, a
//! value that it rejects a 400, anything else a 500.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::infra::LoadError;
use crate::infra::db::{Heartbeat, is_breaker_open, is_outage, rejected_value};

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
        // That the breaker is open was logged when it opened.
        if !is_breaker_open(error) {
            tracing::warn!(%error, "the database is not available");
        }
        return Problem::new(Code::Unavailable);
    }
    if let Some(sqlstate) = rejected_value(error) {
        // Without the error itself, whose text can quote the value.
        tracing::warn!(
            sqlstate,
            "PostgreSQL rejected a value that validation accepted"
        );
        return Problem::new(Code::BadRequest).detail("a value of the request cannot be stored");
    }
    Problem::internal(error)
}

/// Refuses a request that waits for PostgreSQL with 503 as soon as the circuit breaker opens.
pub fn unless_silent(
    heartbeat: &Heartbeat,
    answer: impl Future<Output = Answer>,
) -> impl Future<Output = Answer> {
    UnlessSilent {
        answer,
        silenced: heartbeat.unresponsive(),
    }
}

pin_project! {
    /// The future of [`unless_silent`]. An async function would hold the answer twice: as what it was
    /// given, and as what it waits for.
    struct UnlessSilent<F, S> {
        #[pin]
        answer: F,
        #[pin]
        silenced: S,
    }
}

impl<F, S> Future for UnlessSilent<F, S>
where
    F: Future<Output = Answer>,
    S: Future<Output = ()>,
{
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = self.project();
        if let Poll::Ready(answer) = this.answer.poll(cx) {
            return Poll::Ready(answer);
        }
        let silenced = this.silenced.poll(cx);
        silenced.map(|()| Err(Problem::new(Code::Unavailable)))
    }
}
