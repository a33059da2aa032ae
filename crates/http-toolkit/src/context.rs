//! Outermost layer: request id, client address, logging scope, access log line, metrics, and completion of error
//! responses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::http::Extensions;
use axum::response::Response;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::bodies::Bodies;
use crate::client::{Origin, Proxies};
use crate::code::ProblemCode;
use crate::config::HttpConfig;
use crate::load_shed::{Slots, TakenSlot};
use crate::metrics::InFlight;
use crate::problem::{self, Problem};
use crate::request_id::{RequestId, X_REQUEST_ID};
use crate::retry_after;
use clock::{Clock, Rng};
use telemetry::{RequestFacts, RequestScope};
use uuid::Uuid;

/// Per-request data beside the request itself; clones share it.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: RequestId,
    origin: Origin,
    user: OnceLock<Uuid>,
    started: Instant,
    shared: Arc<Shared>,
    /// One of the slots of `shared`, while the request has it.
    slot: Mutex<Option<TakenSlot>>,
    /// Microseconds from `started` to the moment that the handler's deadline counts from.
    counts_from: AtomicU64,
}

impl RequestContext {
    /// The context of a request; `None` outside of [`RequestContextLayer`].
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.0.id
    }

    #[must_use]
    pub fn client_addr(&self) -> std::net::IpAddr {
        self.0.origin.addr
    }

    /// Authenticated user.
    #[must_use]
    pub fn user(&self) -> Option<Uuid> {
        self.0.user.get().copied()
    }

    /// Milliseconds since the request began, to the microsecond.
    fn latency_ms(&self) -> f64 {
        (self.0.started.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    pub fn set_user(&self, user: Uuid) {
        let _ = self.0.user.set(user);
    }

    pub(super) fn origin(&self) -> Origin {
        self.0.origin
    }

    pub(super) fn body_timeout(&self) -> Duration {
        self.0.shared.body_timeout
    }

    pub(super) fn bodies(&self) -> &Bodies {
        &self.0.shared.bodies
    }

    /// Takes a load-shedding slot, unless none is free or the client has too many.
    pub(super) fn take_slot(&self) -> Result<(), Problem> {
        let taken = self.0.shared.slots.take(self.client_addr())?;
        *self.slot() = Some(taken);
        Ok(())
    }

    /// Gives the slot back; `false` if the request has none.
    pub(super) fn release_slot(&self) -> bool {
        let Some(taken) = self.slot().take() else {
            return false;
        };
        self.0.shared.slots.give_back(taken);
        true
    }

    fn slot(&self) -> MutexGuard<'_, Option<TakenSlot>> {
        self.0.slot.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Layer for the whole router (`Router::layer`), where the matched route is already known, outside of every other
/// layer.
#[derive(Clone, Debug)]
pub struct RequestContextLayer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    proxies: Proxies,
    body_timeout: Duration,
    slots: Slots,
    bodies: Bodies,
    clock: Clock,
    rng: Rng,
}

impl RequestContextLayer {
    #[must_use]
    pub fn new(config: &HttpConfig, clock: Clock, rng: Rng) -> Self {
        Self(Arc::new(Shared {
            proxies: Proxies::new(config),
            body_timeout: config.body_timeout,
            slots: Slots::new(config.max_requests),
            bodies: Bodies::new(config),
            clock,
            rng,
        }))
    }
}

impl Shared {
    fn begin(self: &Arc<Self>, request: &Request) -> RequestContext {
        let headers = request.headers();
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0);
        let origin = self.proxies.origin(peer, headers);
        let id = RequestId::accept(headers).filter(|_| origin.proxied);
        RequestContext(Arc::new(Inner {
            id: id.unwrap_or_else(|| RequestId::new(&self.clock, &self.rng)),
            origin,
            user: OnceLock::new(),
            started: Instant::now(),
            shared: Arc::clone(self),
            slot: Mutex::default(),
            counts_from: AtomicU64::new(0),
        }))
    }
}

impl<S> Layer<S> for RequestContextLayer {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> ContextService<S> {
        ContextService {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

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
        let context = self.shared.begin(&request);
        let facts = RequestFacts::of(&request, context.request_id().header());
        let asker = context.clone();
        let user = move || asker.user().map(|id| id.to_string());
        // Anybody could choose the trace that our lines and spans are filed under.
        let caller = context.origin().proxied.then(|| request.headers());
        let scope = RequestScope::begin(
            caller,
            || (self.shared.rng.bytes(), self.shared.rng.bytes()),
            facts,
            user,
        );
        request.extensions_mut().insert(context.clone());
        let inner = &mut self.inner;
        let reply = scope.bind(scope.enter(|| inner.call(request)));
        Box::pin(async move {
            let mut line = AccessLine {
                context,
                outcome: None,
                is_polled: false,
                in_flight: InFlight::begin(),
                scope,
            };
            let mut response = reply.await?.map(Body::new);
            let id = line.context.request_id();
            let problem = response.extensions().get::<Problem>();
            let has_own_retry_after = problem.is_some_and(Problem::has_own_retry_after);
            let code = problem::complete(&mut response, id.as_str());
            if !has_own_retry_after {
                retry_after::spread(response.status(), response.headers_mut(), &id.header());
            }
            response.headers_mut().insert(X_REQUEST_ID, id.header());
            line.is_polled = response.extensions().get::<Polled>().is_some();
            line.outcome = Some((response.status().as_u16(), code));
            Ok(response)
        })
    }
}

/// Status in logs and metrics when the client disconnected before the response.
const CLIENT_LEFT: u16 = 499;

/// Response extension: the access log line of the request has the level debug, as that of a probe. For what a page
/// requests every few seconds.
#[derive(Clone, Copy, Debug)]
pub struct Polled;

/// Access log line, written on drop, since a client that disconnects drops the handler's future. It omits the
/// client address, which is personal data.
struct AccessLine {
    context: RequestContext,
    outcome: Option<(u16, Option<ProblemCode>)>,
    is_polled: bool,
    in_flight: InFlight,
    scope: RequestScope,
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let (status, code) = self.outcome.unwrap_or((CLIENT_LEFT, None));
        let facts = self.scope.facts();
        let took = self.context.0.started.elapsed();
        self.in_flight
            .answered(facts.method(), facts.template(), status, took);
        let user = || self.context.user().map(|id| id.to_string());
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
                    latency_ms = self.context.latency_ms(),
                    user_id = self.context.user().map(tracing::field::display),
                    code = code.map(ProblemCode::as_str),
                )
            };
        }
        if self.is_polled || route.starts_with("/health") {
            line!(debug);
        } else {
            line!(info);
        }
    }
}

#[cfg(test)]
mod tests;
