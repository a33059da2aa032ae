//! The way past for probes: whoever asks how the service is must be told while it is busiest.

use std::task::{Context, Poll};

use axum::extract::Request;
use futures_util::future::Either;
use tower::{Layer, Service};

/// Whether a path is one that probes and balancers ask.
pub(super) fn is_probe(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

/// A layer that requests to `/health` do not meet.
#[derive(Clone, Copy, Debug)]
pub struct PastProbes<L>(pub(super) L);

impl<S: Clone, L: Layer<S>> Layer<S> for PastProbes<L> {
    type Service = ProbesService<S, L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        ProbesService {
            around: self.0.layer(inner.clone()),
            past: inner,
        }
    }
}

/// The service of [`PastProbes`].
#[derive(Clone, Copy, Debug)]
pub struct ProbesService<S, A> {
    around: A,
    past: S,
}

impl<S, A> Service<Request> for ProbesService<S, A>
where
    S: Service<Request>,
    A: Service<Request, Response = S::Response, Error = S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<A::Future, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self.around.poll_ready(cx) {
            Poll::Ready(Ok(())) => self.past.poll_ready(cx),
            waiting => waiting,
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_probe(request.uri().path()) {
            Either::Right(self.past.call(request))
        } else {
            Either::Left(self.around.call(request))
        }
    }
}
