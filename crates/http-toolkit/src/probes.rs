//! The way past for probes: whoever asks how the service is must be told while it is busiest.

use std::marker::PhantomData;
use std::task::{Context, Poll};

use axum::extract::Request;
use futures_util::future::Either;
use tower::{Layer, Service};

/// Whether a path is one that probes and balancers ask.
pub(super) fn is_probe(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

/// A service around another, which can be had without it.
pub trait Around<S> {
    /// The service within.
    fn within(&mut self) -> &mut S;
}

/// A layer that requests to `/health` do not meet.
#[derive(Clone, Copy, Debug)]
pub struct PastProbes<L>(pub(super) L);

impl<S, L: Layer<S>> Layer<S> for PastProbes<L> {
    type Service = ProbesService<S, L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        ProbesService {
            around: self.0.layer(inner),
            within: PhantomData,
        }
    }
}

/// The service of [`PastProbes`].
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
    A: Service<Request, Response = S::Response, Error = S::Error> + Around<S>,
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
            Either::Right(self.around.within().call(request))
        } else {
            Either::Left(self.around.call(request))
        }
    }
}
