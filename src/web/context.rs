//! The outermost layer: gives a request its id, finds its client, opens its span, writes its line
//! in the access log and finishes its refusals.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use ipnet::IpNet;
use serde::Deserialize;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::client::Origin;
use super::code::Code;
use super::problem::{self, Problem};
use crate::config::HttpConfig;
use crate::ids::{UserId, uuid_v7};
use crate::infra::{Clock, Rng};
use crate::metrics::InFlight;
use crate::telemetry::{RequestFacts, RequestScope};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 64;

/// The id that ties a reply, its log lines and its error report together: 1 to 64 of
/// `A-Z a-z 0-9 . _ -`, since it goes into our logs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RequestId(HeaderValue);

impl TryFrom<String> for RequestId {
    type Error = &'static str;

    fn try_from(raw: String) -> Result<Self, &'static str> {
        let id = HeaderValue::try_from(raw).ok().and_then(Self::plain);
        id.ok_or("must be 1 to 64 of A-Z a-z 0-9 . _ -")
    }
}

impl RequestId {
    /// Takes a client's id, if it is one.
    fn accept(headers: &HeaderMap) -> Option<Self> {
        headers.get(X_REQUEST_ID).cloned().and_then(Self::plain)
    }

    fn plain(id: HeaderValue) -> Option<Self> {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=REQUEST_ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(plain);
        fits.then_some(Self(id))
    }

    pub(super) fn new(clock: &Clock, rng: &Rng) -> Self {
        let mut hex = [0; 32];
        let id = uuid_v7(clock.now(), rng);
        let value = HeaderValue::from_str(id.simple().encode_lower(&mut hex));
        Self(value.unwrap_or(HeaderValue::from_static("none")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let exchange = Exchange::of(&parts.extensions).ok_or(Code::Internal)?;
        Ok(exchange.request_id().clone())
    }
}

/// What is known of a request beside its parts, shared by all that handles it.
#[derive(Clone, Debug)]
pub struct Exchange(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: RequestId,
    origin: Origin,
    user: OnceLock<UserId>,
    started: Instant,
    body_timeout: Duration,
    /// Microseconds from `started` to the moment that the handler's deadline counts from.
    counts_from: AtomicU64,
}

impl Exchange {
    /// The exchange a request belongs to; `None` outside of [`RequestContext`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.0.id
    }

    /// The client's address; limits count by its network.
    #[must_use]
    pub fn client_addr(&self) -> std::net::IpAddr {
        self.0.origin.addr
    }

    /// Who is signed in, once the request has been authenticated.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.0.user.get().copied()
    }

    /// Milliseconds since the request began, to the microsecond.
    fn latency_ms(&self) -> f64 {
        (self.0.started.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    pub(super) fn set_user(&self, user: UserId) {
        let _ = self.0.user.set(user);
    }

    pub(super) fn origin(&self) -> Origin {
        self.0.origin
    }

    pub(super) fn body_timeout(&self) -> Duration {
        self.0.body_timeout
    }

    /// The moment that the handler's deadline counts from.
    pub(super) fn counts_from(&self) -> Instant {
        self.0.started + Duration::from_micros(self.0.counts_from.load(Ordering::Relaxed))
    }

    /// Lets the handler's deadline count from `moment`, since what was before is the client's time.
    pub(super) fn count_from(&self, moment: Instant) {
        let micros = moment.duration_since(self.0.started).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.0.counts_from.store(micros, Ordering::Relaxed);
    }
}

/// The layer. It belongs on the whole router with `Router::layer`, where the matched route is
/// already known, and outside of every other layer.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    trusted_proxies: Vec<IpNet>,
    body_timeout: Duration,
    clock: Clock,
    rng: Rng,
}

impl RequestContext {
    /// The layer for these settings; ids are made from `clock` and `rng`.
    #[must_use]
    pub fn new(config: &HttpConfig, clock: Clock, rng: Rng) -> Self {
        Self(Arc::new(Shared {
            trusted_proxies: config.trusted_proxies.clone(),
            body_timeout: config.body_timeout,
            clock,
            rng,
        }))
    }
}

impl Shared {
    fn begin(&self, request: &Request) -> Exchange {
        let headers = request.headers();
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0);
        let id = RequestId::accept(headers);
        Exchange(Arc::new(Inner {
            id: id.unwrap_or_else(|| RequestId::new(&self.clock, &self.rng)),
            origin: Origin::find(peer, headers, &self.trusted_proxies),
            user: OnceLock::new(),
            started: Instant::now(),
            body_timeout: self.body_timeout,
            counts_from: AtomicU64::new(0),
        }))
    }
}

impl<S> Layer<S> for RequestContext {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> ContextService<S> {
        ContextService {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

/// The service of [`RequestContext`].
#[derive(Clone, Debug)]
pub struct ContextService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request> for ContextService<S>
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

    fn call(&mut self, mut request: Request) -> Self::Future {
        let exchange = self.shared.begin(&request);
        let facts = RequestFacts::of(&request, exchange.request_id().0.clone());
        let asker = exchange.clone();
        let user = move || asker.user().map(|id| id.to_string());
        let scope = RequestScope::begin(request.headers(), &self.shared.rng, facts, user);
        request.extensions_mut().insert(exchange.clone());
        let inner = &mut self.inner;
        let reply = scope.bind(scope.enter(|| inner.call(request)));
        Box::pin(async move {
            let mut line = AccessLine {
                exchange,
                outcome: None,
                in_flight: InFlight::begin(),
                scope,
            };
            let mut response = reply.await?.map(Body::new);
            let id = line.exchange.request_id();
            let code = problem::complete(&mut response, id.as_str());
            response.headers_mut().insert(X_REQUEST_ID, id.0.clone());
            line.outcome = Some((response.status().as_u16(), code));
            Ok(response)
        })
    }
}

/// What stands for the status of a reply that nobody waited for.
const CLIENT_LEFT: u16 = 499;

/// The line in the access log, written when it is dropped: a client that hangs up drops the
/// handler's future, and its request is to be seen as well. It has no client's address: that is
/// personal, and the audit log keeps it where it matters.
struct AccessLine {
    exchange: Exchange,
    outcome: Option<(u16, Option<Code>)>,
    in_flight: InFlight,
    scope: RequestScope,
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let (status, code) = self.outcome.unwrap_or((CLIENT_LEFT, None));
        let facts = self.scope.facts();
        let took = self.exchange.0.started.elapsed();
        self.in_flight
            .answered(facts.method(), facts.template(), status, took);
        let user = || self.exchange.user().map(|id| id.to_string());
        self.scope.end(status, user);
        let facts = self.scope.facts();
        let route = facts.template();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "access",
                    request_id = facts.request_id(),
                    trace_id = self.scope.trace_id(),
                    method = facts.method().as_str(),
                    route,
                    status,
                    latency_ms = self.exchange.latency_ms(),
                    user_id = self.exchange.user().map(tracing::field::display),
                    code = code.map(Code::as_str),
                )
            };
        }
        if route.starts_with("/health") {
            line!(debug);
        } else {
            line!(info);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::Method;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use tower::ServiceExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::ids::SessionId;
    use crate::telemetry::Lines;
    use crate::web::stack_test::{config, get as request, json};
    use crate::web::{Caller, Principal};

    fn app() -> Router {
        Router::new()
            .route(
                "/things/{id}",
                get(async |id: RequestId| id.as_str().to_owned()),
            )
            .layer(RequestContext::new(
                &config(),
                Clock::system(),
                Rng::system(),
            ))
    }

    #[tokio::test]
    async fn a_plain_id_is_kept_and_a_hostile_one_replaced() {
        let long = "a".repeat(65);
        for (sent, kept) in [
            ("abc-DEF_1.2", true),
            ("", false),
            ("a b", false),
            ("<x>", false),
            (&long, false),
        ] {
            let mut sent_request = request("/things/1");
            sent_request
                .headers_mut()
                .insert(X_REQUEST_ID, sent.parse().unwrap());
            let response = app().oneshot(sent_request).await.unwrap();
            let id = response.headers()[X_REQUEST_ID]
                .to_str()
                .unwrap()
                .to_owned();
            assert_eq!(id == sent, kept, "{sent}");
            if !kept {
                assert_eq!(id.len(), 32);
                assert_eq!(&id[12..13], "7");
            }
            let body = axum::body::to_bytes(response.into_body(), 100)
                .await
                .unwrap();
            assert_eq!(body, id.as_bytes());
        }
    }

    #[tokio::test]
    async fn unknown_routes_and_methods_are_problems_with_the_id() {
        let response = app().oneshot(request("/nothing")).await.unwrap();
        assert_eq!(response.status(), 404);
        let id = response.headers()[X_REQUEST_ID].clone();
        let body = json(response).await;
        assert_eq!(body["code"], "not_found");
        assert_eq!(body["request_id"], id.to_str().unwrap());

        let mut post = request("/things/1");
        *post.method_mut() = Method::POST;
        let response = app().oneshot(post).await.unwrap();
        assert_eq!(response.headers()["allow"], "GET,HEAD");
        assert_eq!(json(response).await["code"], "method_not_allowed");
    }

    const ADA: UserId = UserId(Uuid::max());

    async fn sign_in(mut request: Request, next: Next) -> Response {
        let session_id = SessionId(Uuid::nil());
        let ada = Principal {
            user_id: ADA,
            session_id,
        };
        Caller::from(ada).enter(request.extensions_mut());
        next.run(request).await
    }

    #[tokio::test]
    async fn each_request_leaves_one_line_that_names_no_raw_path() {
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(lines.subscriber());
        let app = Router::new()
            .route(
                "/things/{id}",
                get(async |me: Principal| me.user_id.to_string()),
            )
            .route("/never", get(std::future::pending::<()>))
            .route("/health/live", get(async || "live"))
            .route_layer(from_fn(sign_in))
            .layer(RequestContext::new(
                &config(),
                Clock::system(),
                Rng::system(),
            ));

        // A test beside this one, without a subscriber, may have switched the line off meanwhile.
        while lines.text().is_empty() {
            tracing::callsite::rebuild_interest_cache();
            app.clone().oneshot(request("/things/1")).await.unwrap();
        }
        let reply = app
            .clone()
            .oneshot(request("/things/secret?token=secret"))
            .await
            .unwrap();
        let line = lines.last();
        assert_eq!(line["target"], "access");
        assert_eq!(line["route"], "/things/{id}");
        assert_eq!(line["status"], 200);
        assert_eq!(line["user_id"], ADA.to_string());
        assert_eq!(
            line["request_id"],
            reply.headers()[X_REQUEST_ID].to_str().unwrap()
        );
        assert!(line["latency_ms"].is_f64());
        assert!(!line.to_string().contains("secret"));

        app.clone().oneshot(request("/nothing")).await.unwrap();
        assert_eq!(lines.last()["route"], "unmatched");
        assert_eq!(lines.last()["code"], "not_found");

        let never = app.clone().oneshot(request("/never"));
        tokio::time::timeout(Duration::from_millis(10), never)
            .await
            .unwrap_err();
        assert_eq!(lines.last()["status"], CLIENT_LEFT);
        assert_eq!(lines.last()["route"], "/never");

        app.oneshot(request("/health/live")).await.unwrap();
        assert_eq!(lines.last()["route"], "/never");
    }
}
