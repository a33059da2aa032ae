//! Common service of layers that reject some requests, without boxing.

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

/// Condition of a layer.
pub trait Reject {
    /// Response to a rejected request.
    fn reject(&self, request: &Request) -> Option<Response>;
}

#[derive(Debug)]
pub struct RejectService<S, R> {
    inner: S,
    rules: Arc<R>,
}

impl<S, R> RejectService<S, R> {
    pub(super) fn new(inner: S, rules: &Arc<R>) -> Self {
        let rules = Arc::clone(rules);
        Self { inner, rules }
    }
}

impl<S: Clone, R> Clone for RejectService<S, R> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), &self.rules)
    }
}

impl<S, R, B> Service<Request> for RejectService<S, R>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    R: Reject,
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
        if let Some(refusal) = self.rules.reject(&request) {
            return Either::Right(ready(Ok(refusal)));
        }
        let passed: fn(Response<B>) -> Response = |response| response.map(Body::new);
        Either::Left(self.inner.call(request).map_ok(passed))
    }
}
