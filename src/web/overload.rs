//! Sheds load: a request above the cap is told to come back at once, instead of waiting in a line
//! that grows until nobody is served.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::{Either, Ready, ready};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::code::Code;
use super::probes::{Around, PastProbes};
use super::problem::Problem;
use crate::config::HttpConfig;
use crate::metrics;

/// When to come back: whatever fills the house takes at least so long to leave.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The layer of [`shed`].
pub type Shed = PastProbes<Cap>;

/// The layer: at most so many requests are answered at once, beside those to `/health`.
#[must_use]
pub fn shed(config: &HttpConfig) -> Shed {
    PastProbes(Cap(Arc::new(Semaphore::new(config.max_requests))))
}

/// The cap itself.
#[derive(Clone, Debug)]
pub struct Cap(Arc<Semaphore>);

impl<S> Layer<S> for Cap {
    type Service = CapService<S>;

    fn layer(&self, inner: S) -> CapService<S> {
        CapService {
            inner,
            places: Arc::clone(&self.0),
        }
    }
}

/// The service of [`Cap`].
#[derive(Clone, Debug)]
pub struct CapService<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Around<S> for CapService<S> {
    fn within(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S> Service<Request> for CapService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Seated<S::Future>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics::count_refused("load");
            let busy = Problem::new(Code::Busy).retry_after(RETRY_AFTER);
            return Either::Right(ready(Ok(busy.into_response())));
        };
        Either::Left(Seated {
            answer: self.inner.call(request),
            _place: place,
        })
    }
}

pin_project! {
    /// A request that is being answered. Its place is given back when the answer is there, or when
    /// nobody waits for it any more.
    pub struct Seated<F> {
        #[pin]
        answer: F,
        _place: OwnedSemaphorePermit,
    }
}

impl<F: Future> Future for Seated<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().answer.poll(cx)
    }
}
