//! Exemption of `/health` from a layer.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use axum::extract::Request;
use futures_util::future::Either;
use tower::{Layer, Service};

pub(super) fn is_probe(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

/// Service that wraps another.
pub trait HasInner<S> {
    fn inner_mut(&mut self) -> &mut S;
}

/// Applies a layer to all requests but those to `/health`.
#[derive(Clone, Copy, Debug)]
pub struct ExceptProbes<L>(pub(super) L);

impl<S, L: Layer<S>> Layer<S> for ExceptProbes<L> {
    type Service = ProbesService<S, L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        ProbesService {
            around: self.0.layer(inner),
            within: PhantomData,
        }
    }
}

#[derive(Debug)]
pub struct ProbesService<S, A> {
    around: A,
    within: PhantomData<fn() -> S>,
}

impl<S, A: Clone> Clone for ProbesService<S, A> {
    fn clone(&self) -> Self {
        Self {
            around: self.around.clone(),
            within: PhantomData,
        }
    }
}

impl<S, A> Service<Request> for ProbesService<S, A>
where
    S: Service<Request>,
    A: Service<Request, Response = S::Response, Error = S::Error> + HasInner<S>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<A::Future, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A layer is ready when what is within is.
        self.around.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_probe(request.uri().path()) {
            Either::Right(self.around.inner_mut().call(request))
        } else {
            Either::Left(self.around.call(request))
        }
    }
}
