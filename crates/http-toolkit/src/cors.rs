//! CORS with an allow-list of exact origins.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{ORIGIN, VARY};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use futures_util::TryFutureExt as _;
use futures_util::future::{Either, MapOk};
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::security::{ApiKey, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

use crate::config::HttpConfig;
use crate::document::operations;

const PREFLIGHT_MAX_AGE: Duration = Duration::from_mins(10);

/// Request headers that pages may send and the document need not name: credentials, what every route takes, and
/// the trace headers of W3C and Sentry that a page's own tracing adds to each call. Whether a trace
/// is continued is decided elsewhere: a preflight that is refused would fail the whole call.
const REQUEST_HEADERS: [&str; 9] = [
    "authorization",
    "content-type",
    "idempotency-key",
    "x-csrf-token",
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
];

/// Reply headers that pages may read and the document need not name: every reply has them.
const REPLY_HEADERS: [&str; 1] = ["x-request-id"];

/// The layer. It answers preflights itself, so it stands outside of all that costs or refuses.
/// Credentials are only ever allowed to origins that are listed one by one. Pages may send and read
/// every header that the document names.
#[must_use]
pub fn cors(config: &HttpConfig, document: &OpenApi) -> FromPages {
    let documented = DocumentedHeaders::of(document);
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
        .allow_headers(documented.of_requests)
        .expose_headers(documented.of_replies)
        .max_age(PREFLIGHT_MAX_AGE);
    FromPages(Arc::new(rules))
}

/// The headers that pages may send and read.
struct DocumentedHeaders {
    of_requests: Vec<HeaderName>,
    of_replies: Vec<HeaderName>,
}

impl DocumentedHeaders {
    fn of(document: &OpenApi) -> Self {
        let mut requests: BTreeSet<String> = REQUEST_HEADERS.map(str::to_owned).into();
        let mut replies: BTreeSet<String> = REPLY_HEADERS.map(str::to_owned).into();
        let schemes = document.components.iter();
        let schemes = schemes.flat_map(|components| components.security_schemes.values());
        for scheme in schemes {
            if let RefOr::T(SecurityScheme::ApiKey(ApiKey::Header(key))) = scheme {
                requests.insert(key.name.to_lowercase());
            }
        }
        for item in document.paths.paths.values() {
            for (_, operation) in operations(&mut item.clone()) {
                for parameter in operation.parameters.iter().flatten() {
                    if let RefOr::T(parameter) = parameter
                        && parameter.parameter_in == ParameterIn::Header
                    {
                        requests.insert(parameter.name.to_lowercase());
                    }
                }
                for response in operation.responses.responses.values() {
                    if let RefOr::T(response) = response {
                        replies.extend(response.headers.keys().map(|name| name.to_lowercase()));
                    }
                }
            }
        }
        let names = |names: BTreeSet<String>| {
            let names = names.into_iter();
            names.filter_map(|name| name.parse().ok()).collect()
        };
        Self {
            of_requests: names(requests),
            of_replies: names(replies),
        }
    }
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

/// Declares to caches that a page's request would be answered with other headers.
fn varies<B>(mut response: Response<B>) -> Response<B> {
    const BY_ORIGIN: HeaderValue = HeaderValue::from_static("origin");
    response.headers_mut().append(VARY, BY_ORIGIN);
    response
}
