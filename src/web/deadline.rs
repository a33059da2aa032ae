//! How long a handler may take. The time that a body takes to arrive is the client's and bounded on
//! its own.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service};

use super::code::Code;
use super::context::Exchange;
use super::problem::Problem;
use crate::config::HttpConfig;

/// The layer. At the deadline the handler's future is dropped: what must finish belongs in a
/// spawned task or a job.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

impl Deadline {
    /// The layer for these settings.
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

/// The service of [`Deadline`].
#[derive(Clone, Copy, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    allowed: Duration,
}

impl<S, B> Service<Request> for DeadlineService<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let exchange = Exchange::of(request.extensions()).cloned();
        let allowed = self.allowed;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let begun = Instant::now();
            tokio::select! {
                biased;
                answer = answer => answer.map(|response| response.map(Body::new)),
                () = passed(begun, allowed, exchange.as_ref()) => {
                    tracing::warn!(allowed_ms = allowed.as_millis(), "a handler took too long");
                    Ok(Problem::new(Code::DeadlineExceeded).into_response())
                }
            }
        })
    }
}

/// Waits for the deadline. It counts from `begun`, or from the end of the body if that is later;
/// while the body is still on its way the exchange names the latest moment it may end.
async fn passed(begun: Instant, allowed: Duration, exchange: Option<&Exchange>) {
    loop {
        let now = Instant::now();
        let from = exchange.map_or(begun, Exchange::counts_from).max(begun);
        if now >= from + allowed {
            return;
        }
        sleep_until(if from > now { from } else { from + allowed }).await;
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::{get, post};
    use futures_util::stream;
    use tokio::time::sleep;
    use tower::{ServiceBuilder, ServiceExt as _};

    use super::*;
    use crate::infra::{Clock, Rng};
    use crate::web::stack_test::{config, get as request, json};
    use crate::web::{RawBody, RequestContext};

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
                    .layer(RequestContext::new(&config, Clock::system(), Rng::system()))
                    .layer(Deadline::new(&config)),
            )
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handler_is_cut_off() {
        let begun = Instant::now();
        let response = app().oneshot(request("/slow")).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 15);
        assert_eq!(response.headers()["retry-after"], "1");
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
