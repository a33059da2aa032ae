//! Handler timeout. It excludes the time that the body takes to arrive, which has a timeout of its own; that is why
//! it is not `tower_http::timeout`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{Layer, Service};

use crate::code::ProblemCode;
use crate::config::HttpConfig;
use crate::context::RequestContext;
use crate::problem::Problem;

/// Timeout layer. At the deadline the handler's future is dropped: work that must finish belongs in a spawned task
/// or a job.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

impl Deadline {
    #[must_use]
    pub fn new(config: &HttpConfig) -> Self {
        Self(config.request_timeout)
    }
}

impl<S> Layer<S> for Deadline {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService {
            inner,
            allowed: self.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    allowed: Duration,
}

impl<S> Service<Request> for DeadlineService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Bounded<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let context = RequestContext::of(request.extensions()).cloned();
        Bounded {
            answer: self.inner.call(request),
            begun: Instant::now(),
            allowed: self.allowed,
            context,
            sleep: None,
        }
    }
}

pin_project! {
    /// An answer that is waited for until the deadline. It counts from `begun`, or from the end of
    /// the body if that is later; while the body is still on its way the context names the latest
    /// moment it may end.
    pub struct Bounded<F> {
        #[pin]
        answer: F,
        begun: Instant,
        allowed: Duration,
        context: Option<RequestContext>,
        // None until the answer has to be waited for.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Bounded<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(answer) = this.answer.poll(cx) {
            return Poll::Ready(answer);
        }
        loop {
            if let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
                ready!(sleep.poll(cx));
            }
            let now = Instant::now();
            let counts_from = this.context.as_ref().map(RequestContext::counts_from);
            let from = counts_from.unwrap_or(*this.begun).max(*this.begun);
            if now >= from + *this.allowed {
                let allowed_ms = this.allowed.as_millis();
                tracing::warn!(allowed_ms, "a handler took too long");
                return Poll::Ready(Ok(
                    Problem::new(ProblemCode::DEADLINE_EXCEEDED).into_response()
                ));
            }
            let until = if from > now {
                from
            } else {
                from + *this.allowed
            };
            this.sleep.set(Some(sleep_until(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::routing::{get, post};
    use futures_util::stream;
    use tokio::time::sleep;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;
    use crate::stack_test::{config, get as request, json};
    use crate::{RawBody, RequestContextLayer};
    use clock::{Clock, Rng};

    fn app() -> Router {
        let mut config = config();
        config.request_timeout = Duration::from_secs(15);
        config.body_timeout = Duration::from_secs(20);
        Router::new()
            .route("/slow", get(async || sleep(Duration::from_mins(1)).await))
            .route(
                "/body",
                post(async |_: RawBody| sleep(Duration::from_secs(10)).await),
            )
            .route(
                "/body/slow",
                post(async |_: RawBody| sleep(Duration::from_mins(1)).await),
            )
            .layer(
                ServiceBuilder::new()
                    .layer(RequestContextLayer::new(
                        &config,
                        Clock::system(),
                        Rng::system(),
                    ))
                    .layer(Deadline::new(&config)),
            )
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handler_is_cut_off() {
        let begun = Instant::now();
        let response = app().oneshot(request("/slow")).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 15);
        // One second, and up to two more: see `retry_after`.
        let seconds = response.headers()["retry-after"].to_str().unwrap();
        assert!(["1", "2", "3"].contains(&seconds), "{seconds}");
        assert_eq!(json(response).await["code"], "deadline_exceeded");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_body_does_not_count() {
        let slow_body = || {
            let late = async {
                sleep(Duration::from_secs(18)).await;
                Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
            };
            Body::from_stream(stream::once(late))
        };
        let send = async |path: &str| {
            app()
                .oneshot(Request::post(path).body(slow_body()).unwrap())
                .await
                .unwrap()
        };
        assert_eq!(send("/body").await.status(), 200);
        let begun = Instant::now();
        assert_eq!(send("/body/slow").await.status(), 503);
        assert_eq!(begun.elapsed().as_secs(), 33);
    }
}
