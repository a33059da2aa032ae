//! Doors: layers of one function, which a request passes on its way to its handler.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::Route;
use futures_util::{FutureExt as _, TryFutureExt as _};
use tower::{Layer, Service};

use super::problem::Answer;

/// What is behind a door.
#[derive(Clone, Debug)]
pub struct Within(Route);

impl Within {
    /// The answer to a request that was let in.
    pub fn answer(mut self, request: Request) -> impl Future<Output = Answer> + Send + use<> {
        self.0.call(request).map_err(|never| match never {})
    }
}

/// A layer that asks `pass` about each request. It does what `axum::middleware::from_fn` does, which
/// copies and boxes what is within twice more for each request.
pub fn door<P>(pass: P) -> Door<P> {
    Door(pass)
}

/// The layer of [`door`].
#[derive(Clone, Debug)]
pub struct Door<P>(P);

impl<P: Clone> Layer<Route> for Door<P> {
    type Service = DoorService<P>;

    fn layer(&self, within: Route) -> DoorService<P> {
        DoorService {
            pass: self.0.clone(),
            within: Within(within),
        }
    }
}

/// The service of [`Door`].
#[derive(Clone, Debug)]
pub struct DoorService<P> {
    pass: P,
    within: Within,
}

impl<P, F> Service<Request> for DoorService<P>
where
    P: Fn(Request, Within) -> F,
    F: Future<Output = Answer> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A route is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = (self.pass)(request, self.within.clone());
        // An async block would hold the answer twice: as what it took, and as what it waits for.
        Box::pin(answer.map(|answer| Ok(answer.into_response())))
    }
}
