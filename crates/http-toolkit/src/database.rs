//! Database errors as problems: 503 during an outage, 400 for a value that PostgreSQL rejects, otherwise 500.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use pin_project_lite::pin_project;

use database::{Heartbeat, is_breaker_open, is_outage, rejected_value};

use crate::code::ProblemCode;
use crate::problem::{MiddlewareResult, Problem};

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&sqlx::Error> for Problem {
    fn from(error: &sqlx::Error) -> Self {
        if is_outage(error) {
            // That the breaker is open was logged when it opened.
            if !is_breaker_open(error) {
                tracing::warn!(%error, "the database is not available");
            }
            return Problem::new(ProblemCode::UNAVAILABLE);
        }
        if let Some(sqlstate) = rejected_value(error) {
            // Without the error itself, whose text can quote the value.
            tracing::warn!(
                sqlstate,
                "PostgreSQL rejected a value that validation accepted"
            );
            return Problem::new(ProblemCode::BAD_REQUEST)
                .detail("a value of the request cannot be stored");
        }
        Problem::internal(error)
    }
}

#[cfg(feature = "cache")]
impl From<cache::LoadError> for Problem {
    fn from(error: cache::LoadError) -> Self {
        match error.downcast_ref::<sqlx::Error>() {
            Some(error) => Self::from(error),
            None => Self::internal(error),
        }
    }
}

/// Rejects a request that waits for PostgreSQL with 503 as soon as the circuit breaker opens.
pub fn fail_fast<F: Future<Output = MiddlewareResult>>(
    heartbeat: &Heartbeat,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> impl Future<Output = MiddlewareResult> {
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
    F: Future<Output = MiddlewareResult>,
    U: Future<Output = ()>,
{
    type Output = MiddlewareResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<MiddlewareResult> {
        let this = self.project();
        if let Poll::Ready(response) = this.response.poll(cx) {
            return Poll::Ready(response);
        }
        let unresponsive = this.unresponsive.poll(cx);
        unresponsive.map(|()| Err(Problem::new(ProblemCode::UNAVAILABLE)))
    }
}
