//! Tower layer of one async function.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::Route;
use futures_util::{FutureExt as _, TryFutureExt as _};
use tower::{Layer, Service};

use crate::problem::MiddlewareResult;

/// The rest of the stack: further middleware, then the handler.
#[derive(Clone, Debug)]
pub struct Next(Route);

impl Next {
    pub fn run(
        mut self,
        request: Request,
    ) -> impl Future<Output = MiddlewareResult> + Send + use<> {
        self.0.call(request).map_err(|never| match never {})
    }
}

/// Like `axum::middleware::from_fn`, which copies and boxes the inner service twice more for each request.
pub fn middleware_fn<F>(run: F) -> MiddlewareLayer<F> {
    MiddlewareLayer(run)
}

#[derive(Clone, Debug)]
pub struct MiddlewareLayer<F>(F);

impl<F: Clone> Layer<Route> for MiddlewareLayer<F> {
    type Service = Middleware<F>;

    fn layer(&self, inner: Route) -> Middleware<F> {
        Middleware {
            run: self.0.clone(),
            next: Next(inner),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Middleware<F> {
    run: F,
    next: Next,
}

impl<F, R> Service<Request> for Middleware<F>
where
    F: Fn(Request, Next) -> R,
    R: Future<Output = MiddlewareResult> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A route is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = (self.run)(request, self.next.clone());
        // An async block would store the future twice: as its capture, and as what it awaits.
        Box::pin(response.map(|response| Ok(response.into_response())))
    }
}

/// Runs a request through a list of middleware functions from top to bottom, then through the closure `rest`, as
/// one future. A layer for each would copy and box the rest of the stack for every request.
///
/// Each function takes the listed arguments, the request, and a closure that runs the rest.
#[macro_export]
macro_rules! middleware_stack {
    ($request:expr, $rest:expr, []) => { $rest($request) };
    ($request:expr, $rest:expr, [$first:path $(, $argument:expr)* ; $($further:tt)*]) => {
        $first($($argument,)* $request, |request| {
            $crate::middleware_stack!(request, $rest, [$($further)*])
        })
    };
}
