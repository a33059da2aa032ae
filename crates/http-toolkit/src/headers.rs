//! Security headers of every response. One layer instead of a `tower_http::set_header` for each header: a single
//! pass, and no boxed bodies.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::TryFutureExt as _;
use futures_util::future::MapOk;
use tower::{Layer, Service};

use crate::config::HttpConfig;

const ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Off, not `1`: the old browsers that still have this filter can be made to leak data by it.
    (X_XSS_PROTECTION, HeaderValue::from_static("0")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(PERMISSIONS),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        SAME_ORIGIN,
    ),
];
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), \
    display-capture=(), fullscreen=(), geolocation=(), gyroscope=(), magnetometer=(), \
    microphone=(), midi=(), payment=(), publickey-credentials-get=(), usb=()";
const NO_CONTENT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// Layer. A response keeps its own `Content-Security-Policy`, `Cross-Origin-Resource-Policy` and `Cache-Control`.
#[derive(Clone, Copy, Debug)]
pub struct SecurityHeaders {
    https: bool,
}

impl SecurityHeaders {
    /// Sends HSTS only if the public URL is https.
    #[must_use]
    pub fn new(config: &HttpConfig) -> Self {
        Self {
            https: config.is_https(),
        }
    }

    pub(super) fn set(self, headers: &mut HeaderMap) {
        headers.reserve(ALWAYS.len() + 5);
        headers.extend(ALWAYS);
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(NO_CONTENT);
        headers.entry(RESOURCE_POLICY).or_insert(SAME_ORIGIN);
        headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
        if self.https {
            headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
        }
    }
}

impl<S> Layer<S> for SecurityHeaders {
    type Service = HeadersService<S>;

    fn layer(&self, inner: S) -> HeadersService<S> {
        HeadersService {
            inner,
            https: self.https,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct HeadersService<S> {
    inner: S,
    https: bool,
}

impl<S, B> Service<Request> for HeadersService<S>
where
    S: Service<Request, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = MapOk<S::Future, fn(Response<B>) -> Response<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let finish = if self.https { over_https } else { over_http };
        self.inner.call(request).map_ok(finish)
    }
}

fn over_https<B>(mut response: Response<B>) -> Response<B> {
    SecurityHeaders { https: true }.set(response.headers_mut());
    response
}

fn over_http<B>(mut response: Response<B>) -> Response<B> {
    SecurityHeaders { https: false }.set(response.headers_mut());
    response
}
