//! What layers have in common that look at a request and pass it on or refuse it: nothing is boxed,
//! and what passes is not touched.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk, Ready, ready};
use tower::Service;

/// What a layer goes by.
pub trait Rules {
    /// The answer to a request that goes no further.
    fn refuse(&self, request: &Request) -> Option<Response>;
}

/// The service of a layer that goes by rules.
#[derive(Debug)]
pub struct Refusing<S, R> {
    inner: S,
    rules: Arc<R>,
}

impl<S, R> Refusing<S, R> {
    pub(super) fn new(inner: S, rules: &Arc<R>) -> Self {
        let rules = Arc::clone(rules);
        Self { inner, rules }
    }
}

impl<S: Clone, R> Clone for Refusing<S, R> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), &self.rules)
    }
}

impl<S, R, B> Service<Request> for Refusing<S, R>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    R: Rules,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future =
        Either<MapOk<S::Future, fn(Response<B>) -> Response>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if let Some(refusal) = self.rules.refuse(&request) {
            return Either::Right(ready(Ok(refusal)));
        }
        let passed: fn(Response<B>) -> Response = |response| response.map(Body::new);
        Either::Left(self.inner.call(request).map_ok(passed))
    }
}
