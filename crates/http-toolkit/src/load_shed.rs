//! Load shedding: requests above the concurrency limit get 503 at once instead of queueing.

use std::convert::Infallible;
use std::net::IpAddr;
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
use crate::per_client::{Counted, PerClient};
use crate::problem::Problem;

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Client networks that the second half of the slots is enough for.
const SHARES: usize = 8;

/// Slots of the requests that are being handled. A request holds none while its body is being received, so that slow
/// clients cannot take them all. Anybody gets one of the first half; of the second half a client network gets an eighth.
#[derive(Debug)]
pub(super) struct Slots {
    free: Semaphore,
    /// Free slots up to which the second half is in use.
    half: usize,
    second_half: PerClient,
}

/// A slot that a request has taken.
#[derive(Debug)]
pub(super) struct TakenSlot {
    /// Of the second half.
    _counted: Option<Counted>,
}

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        let half = max / 2;
        Self {
            free: Semaphore::new(max),
            half,
            second_half: PerClient::new((half / SHARES).max(1)),
        }
    }

    pub(super) fn take(&self, client: IpAddr) -> Result<TakenSlot, Problem> {
        // Counted only while there is little room, so that other requests cost no lock.
        let counted = if self.free.available_permits() <= self.half {
            let counted = self.second_half.count(client, 1);
            Some(counted.ok_or_else(too_many_of_one)?)
        } else {
            None
        };
        let permit = self.free.try_acquire().map_err(|_| busy())?;
        permit.forget();
        Ok(TakenSlot { _counted: counted })
    }

    pub(super) fn give_back(&self, slot: TakenSlot) {
        drop(slot);
        self.free.add_permits(1);
    }
}

fn busy() -> Problem {
    metrics::count_refused("load");
    Problem::new(ProblemCode::BUSY).retry_after(RETRY_AFTER)
}

fn too_many_of_one() -> Problem {
    metrics::count_refused("load-client");
    Problem::new(ProblemCode::BUSY)
        .detail("too many requests of this client are in progress")
        .retry_after(RETRY_AFTER)
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
        if let Some(Err(refused)) = context.as_ref().map(RequestContext::take_slot) {
            return Either::Right(ready(Ok(refused.into_response())));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        [203, 0, 113, number].into()
    }

    #[test]
    fn one_client_gets_the_first_half_and_an_eighth_of_the_second() {
        let slots = Slots::new(160);
        let take_all = |number| {
            let slots = std::iter::from_fn(|| slots.take(client(number)).ok());
            slots.collect::<Vec<_>>()
        };
        let mut greedy = take_all(1);
        assert_eq!(greedy.len(), 80 + 10);
        let others: Vec<_> = (2..=8).map(take_all).collect();
        assert!(others.iter().all(|it| it.len() == 10));
        assert!(slots.take(client(9)).is_err(), "none is free");
        slots.give_back(greedy.pop().expect("it has some"));
        assert!(slots.take(client(2)).is_err(), "it has its share");
        assert!(slots.take(client(9)).is_ok());
    }

    #[test]
    fn a_client_that_was_refused_holds_nothing() {
        let slots = Slots::new(2);
        let first = slots.take(client(1)).expect("it is free");
        let second = slots.take(client(1)).expect("it is free");
        for _ in 0..3 {
            assert!(slots.take(client(2)).is_err());
        }
        slots.give_back(second);
        let third = slots.take(client(2)).expect("it is free");
        slots.give_back(third);
        slots.give_back(first);
        assert_eq!(slots.free.available_permits(), 2);
    }
}
