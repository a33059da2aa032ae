//! Panics of handlers as 500 responses.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::{CatchUnwind, Either, Map, Ready, ready};
use tower::{Layer, Service};

use crate::code::ProblemCode;
use crate::problem::Problem;

/// Layer that responds to a panic with 500. Not that of `tower-http`, which boxes every body again.
#[derive(Clone, Copy, Debug)]
pub struct CatchPanic;

impl<S> Layer<S> for CatchPanic {
    type Service = CatchPanicService<S>;

    fn layer(&self, inner: S) -> CatchPanicService<S> {
        CatchPanicService(inner)
    }
}

#[derive(Clone, Debug)]
pub struct CatchPanicService<S>(S);

type Answered = Result<Response, Infallible>;
type Panic = Box<dyn Any + Send>;

impl<S> Service<Request> for CatchPanicService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<
        Map<CatchUnwind<AssertUnwindSafe<S::Future>>, fn(Result<Answered, Panic>) -> Answered>,
        Ready<Answered>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match catch_unwind(AssertUnwindSafe(|| self.0.call(request))) {
            Ok(answer) => Either::Left(AssertUnwindSafe(answer).catch_unwind().map(answered)),
            Err(panic) => Either::Right(ready(answered(Err(panic)))),
        }
    }
}

fn answered(answer: Result<Answered, Panic>) -> Answered {
    answer.unwrap_or_else(|panic| Ok(refuse(&*panic)))
}

fn refuse(panic: &(dyn Any + Send)) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = message, "a handler panicked");
    Problem::new(ProblemCode::INTERNAL).into_response()
}
