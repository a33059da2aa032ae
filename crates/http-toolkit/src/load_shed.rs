//! Load shedding: requests above the concurrency limit get 503 at once instead of queueing.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::{Either, Ready, ready};
use pin_project_lite::pin_project;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::code::ProblemCode;
use crate::context::RequestContext;
use crate::except_probes::{ExceptProbes, HasInner};
use crate::metrics;
use crate::problem::Problem;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Slots of the requests that are being handled. A request holds none while its body is being received, so that slow
/// clients cannot take them all.
#[derive(Debug)]
pub(super) struct Slots(Semaphore);

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        Self(Semaphore::new(max))
    }

    pub(super) fn take(&self) -> bool {
        self.0
            .try_acquire()
            .map(tokio::sync::SemaphorePermit::forget)
            .is_ok()
    }

    pub(super) fn give_back(&self) {
        self.0.add_permits(1);
    }
}

pub(super) fn busy() -> Problem {
    metrics::count_refused("load");
    Problem::new(ProblemCode::BUSY).retry_after(RETRY_AFTER)
}

/// The layer of [`shed`].
pub type Shed = ExceptProbes<LoadShedLayer>;

/// Layer that handles at most `max_requests` at once; `/health` is exempt.
#[must_use]
pub fn shed() -> Shed {
    ExceptProbes(LoadShedLayer)
}

#[derive(Clone, Copy, Debug)]
pub struct LoadShedLayer;

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShedService<S>;

    fn layer(&self, inner: S) -> LoadShedService<S> {
        LoadShedService { inner }
    }
}

#[derive(Clone, Debug)]
pub struct LoadShedService<S> {
    inner: S,
}

impl<S> HasInner<S> for LoadShedService<S> {
    fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S> Service<Request> for LoadShedService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Admitted<S::Future>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let context = RequestContext::of(request.extensions()).cloned();
        if context
            .as_ref()
            .is_some_and(|context| !context.wait_for_slot())
        {
            return Either::Right(ready(Ok(busy().into_response())));
        }
        let slot = Slot(context);
        Either::Left(Admitted {
            answer: self.inner.call(request),
            _slot: slot,
        })
    }
}

/// A request's slot, given back on drop if the request has it.
struct Slot(Option<RequestContext>);

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.release_slot();
        }
    }
}

pin_project! {
    /// A request that is being handled. Its slot is given back when the reply is there, or when
    /// nobody waits for it any more.
    pub struct Admitted<F> {
        #[pin]
        answer: F,
        _slot: Slot,
    }
}

impl<F: Future> Future for Admitted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().answer.poll(cx)
    }
}
