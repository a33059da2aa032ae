//! Which browsers' pages may call: an allow-list of exact origins.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk};
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use super::request_id::X_REQUEST_ID;
use crate::config::HttpConfig;

const PREFLIGHT_MAX_AGE: Duration = Duration::from_mins(10);

/// The layer. It answers preflights itself, so it stands outside of all that costs or refuses.
/// Credentials are only ever allowed to origins that are listed one by one.
#[must_use]
pub fn cors(config: &HttpConfig) -> FromPages {
    let rules = CorsLayer::new()
        .allow_origin(AllowOrigin::list(config.allowed_origins.iter().cloned()))
        .allow_credentials(!config.allowed_origins.is_empty())
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            X_REQUEST_ID,
            HeaderName::from_static("x-csrf-token"),
            HeaderName::from_static("idempotency-key"),
        ])
        .expose_headers([
            X_REQUEST_ID,
            RETRY_AFTER,
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
        ])
        .max_age(PREFLIGHT_MAX_AGE);
    FromPages(Arc::new(rules))
}

/// The layer of [`cors`]. What is no browser's page sends no `Origin`, and is not asked what it is
/// allowed: the rules are copied for each request that they are applied to.
#[derive(Clone, Debug)]
pub struct FromPages(Arc<CorsLayer>);

impl<S> Layer<S> for FromPages {
    type Service = PagesService<S>;

    fn layer(&self, inner: S) -> PagesService<S> {
        PagesService {
            inner,
            rules: Arc::clone(&self.0),
        }
    }
}

/// The service of [`FromPages`].
#[derive(Clone, Debug)]
pub struct PagesService<S> {
    inner: S,
    rules: Arc<CorsLayer>,
}

impl<S, B> Service<Request> for PagesService<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible> + Clone,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Either<
        <Cors<S> as Service<Request>>::Future,
        MapOk<S::Future, fn(Response<B>) -> Response<B>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.method() != Method::OPTIONS && !request.headers().contains_key(ORIGIN) {
            let finish: fn(Response<B>) -> Response<B> = varies;
            return Either::Right(self.inner.call(request).map_ok(finish));
        }
        let next = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, next);
        Either::Left(self.rules.layer(ready).call(request))
    }
}

/// Tells caches that a page's request would be answered with other headers.
fn varies<B>(mut response: Response<B>) -> Response<B> {
    const BY_ORIGIN: HeaderValue = HeaderValue::from_static("origin");
    response.headers_mut().append(VARY, BY_ORIGIN);
    response
}
