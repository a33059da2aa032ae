//! Replies to database errors: away or busy is a 503 that invites a retry, a
//! value that it rejects a 400, anything else a 500.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
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
        match error.downcast_ref() {
            Some(error) => failed(error),
            None => Self::internal(error),
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

/// Rejects a request that waits for PostgreSQL with 503 as soon as the circuit breaker opens.
pub fn fail_fast<F: Future<Output = Answer>>(
    heartbeat: &Heartbeat,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> impl Future<Output = Answer> {
    FailFast {
        response: next(request),
        unresponsive: heartbeat.unresponsive(),
    }
}

pin_project! {
    /// An async function would store the response's future twice: as its argument, and as what it awaits.
    struct FailFast<F, U> {
        #[pin]
        response: F,
        #[pin]
        unresponsive: U,
    }
}

impl<F, U> Future for FailFast<F, U>
where
    F: Future<Output = Answer>,
    U: Future<Output = ()>,
{
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = self.project();
        if let Poll::Ready(response) = this.response.poll(cx) {
            return Poll::Ready(response);
        }
        let unresponsive = this.unresponsive.poll(cx);
        unresponsive.map(|()| Err(Problem::new(Code::Unavailable)))
    }
}
