//! Telemetry of a request: its trace, its span and the scope of its log lines and error reports.

use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method};
use futures_util::future::Either;
use sentry::protocol::{SpanStatus, TraceContext as SentryTrace};
use sentry::{Hub, SentryFutureExt as _, Transaction, TransactionContext, User};
use tracing::{Instrument as _, Span};

use crate::reports;
use crate::spans;
use crate::trace::{self, TraceContext};

/// Template of a path without a route.
const UNMATCHED: &str = "unmatched";

/// Returns whether a method is one of RFC 9110 or PATCH (RFC 5789). A client may name one of any length.
#[must_use]
fn is_standard(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
            | Method::CONNECT
            | Method::TRACE
    )
}

/// Replaces methods outside the standards.
static OTHER: LazyLock<Method> = LazyLock::new(|| Method::from_bytes(b"OTHER").unwrap_or_default());

/// Id, method and route template of a request. A clone copies no text.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    request_id: HeaderValue,
    method: Method,
    route: Option<MatchedPath>,
}

impl RequestFacts {
    /// The facts of a request with this id.
    #[must_use]
    pub fn of(request: &Request, request_id: HeaderValue) -> Self {
        let method = request.method();
        let method = if is_standard(method) { method } else { &*OTHER };
        Self {
            request_id,
            method: method.clone(),
            route: request.extensions().get().cloned(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// Its method; `OTHER` for one that no standard has.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The template of its route: a raw path would put ids and tokens into the logs.
    #[must_use]
    pub fn template(&self) -> &str {
        self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str)
    }

    /// Returns whether it is a health check.
    pub(crate) fn is_probe(&self) -> bool {
        self.template().starts_with("/health")
    }
}

/// The request that is being handled.
pub(crate) struct Current {
    pub(crate) facts: RequestFacts,
    pub(crate) trace: TraceContext,
    /// Whether the request's span is exported.
    is_sampled: bool,
}

impl Current {
    /// Fields of the request in a log line.
    pub(crate) fn fields(&self) -> [(&'static str, &str); 4] {
        [
            ("request_id", self.facts.request_id()),
            ("trace_id", self.trace.trace_id()),
            ("method", self.facts.method().as_str()),
            ("route", self.facts.template()),
        ]
    }
}

tokio::task_local! {
    static CURRENT: Arc<Current>;
}

/// Calls `read` with the request that is being handled; `None` outside of one.
pub(crate) fn with_current<R>(read: impl FnOnce(&Current) -> R) -> Option<R> {
    CURRENT.try_with(|current| read(current)).ok()
}

/// The `traceparent` header for a call to another service (W3C Trace Context §3.2): the span that runs,
/// or the request's where none is exported. `None` outside of a request.
#[must_use]
pub fn traceparent() -> Option<String> {
    with_current(|request| {
        if let Some(span) = spans::current() {
            return trace::traceparent(span.trace_id(), span.span_id(), true);
        }
        let trace = &request.trace;
        trace::traceparent(trace.trace_id, trace.span_id, request.is_sampled)
    })
}

/// Returns the id of the signed-in user, once that is known.
pub trait UserId:
    Fn() -> Option<String> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static
{
}

impl<F> UserId for F where
    F: Fn() -> Option<String> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static
{
}

/// A request's spans, and the scope of its log lines and error reports.
pub struct RequestScope {
    current: Arc<Current>,
    hub: Option<Arc<Hub>>,
    transaction: Option<Transaction>,
    span: Span,
}

impl RequestScope {
    /// Begins a request. `caller` are the headers of a caller whose trace is continued; `random` draws
    /// the ids of a trace and of a span.
    #[must_use]
    pub fn begin(
        caller: Option<&HeaderMap>,
        random: impl FnOnce() -> ([u8; 16], [u8; 8]),
        facts: RequestFacts,
        user: impl UserId,
    ) -> Self {
        let parent = caller.and_then(trace::caller_span);
        let is_probe = facts.is_probe();
        let span = if is_probe {
            Span::none()
        } else {
            spans::request_span(&facts, parent.as_ref())
        };
        let (trace, is_exported) = match spans::context_of(&span) {
            Some(own) => (
                TraceContext::new(own.trace_id(), own.span_id(), parent.as_ref()),
                own.is_sampled(),
            ),
            None => (TraceContext::random(parent.as_ref(), random()), false),
        };
        let share = reports::sample_rate();
        let hub = share.map(|_| hub(&facts, &trace, user));
        let is_drawn = share.is_some_and(|share| trace.sampling_value() < share);
        let transaction = (hub.as_ref().filter(|_| is_drawn && !is_probe))
            .map(|hub| transaction_of(hub, &facts, &trace));
        let current = Arc::new(Current {
            facts,
            trace,
            is_sampled: is_exported || transaction.is_some(),
        });
        Self {
            current,
            hub,
            transaction,
            span,
        }
    }

    /// Id, method and route of the request.
    #[must_use]
    pub fn facts(&self) -> &RequestFacts {
        &self.current.facts
    }

    /// The id of the trace, for log lines.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.current.trace.trace_id()
    }

    /// Runs `act` in the request's scope.
    pub fn enter<R>(&self, act: impl FnOnce() -> R) -> R {
        self.span
            .in_scope(|| CURRENT.sync_scope(Arc::clone(&self.current), act))
    }

    /// Runs `future` in the request's scope.
    pub fn bind<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let future = match &self.hub {
            Some(hub) => Either::Left(future.bind_hub(Arc::clone(hub))),
            None => Either::Right(future),
        };
        CURRENT.scope(
            Arc::clone(&self.current),
            future.instrument(self.span.clone()),
        )
    }

    /// Ends the request.
    pub fn end(&mut self, status: u16, user: impl FnOnce() -> Option<String>) {
        if let (Some(transaction), Some(hub)) = (self.transaction.take(), &self.hub) {
            transaction.set_status(span_status(status));
            transaction.set_data("http.response.status_code", status.into());
            Hub::run(Arc::clone(hub), || transaction.finish());
        }
        spans::end_request_span(&self.span, status, user);
        self.span = Span::none();
    }
}

/// A hub for each request: breadcrumbs of one must not reach the report of another.
fn hub(facts: &RequestFacts, trace: &TraceContext, user: impl UserId) -> Arc<Hub> {
    let hub = Hub::new_from_top(Hub::main());
    hub.configure_scope(|scope| {
        scope.set_transaction(Some(&name(facts)));
        scope.set_tag("request_id", facts.request_id());
        scope.set_tag("method", facts.method());
        scope.set_tag("route", facts.template());
        scope.set_context("trace", sentry_trace(trace));
        scope.add_event_processor(move |mut event| {
            event.user = user().map(|id| User {
                id: Some(id),
                ..User::default()
            });
            Some(event)
        });
    });
    Arc::new(hub)
}

fn name(facts: &RequestFacts) -> String {
    format!("{} {}", facts.method(), facts.template())
}

fn sentry_trace(trace: &TraceContext) -> SentryTrace {
    SentryTrace {
        trace_id: trace.trace_id.to_bytes().into(),
        span_id: trace.span_id.to_bytes().into(),
        parent_span_id: trace.parent_id.map(|id| id.to_bytes().into()),
        op: Some("http.server".to_owned()),
        ..SentryTrace::default()
    }
}

fn transaction_of(hub: &Hub, facts: &RequestFacts, trace: &TraceContext) -> Transaction {
    let SentryTrace {
        trace_id,
        span_id,
        parent_span_id,
        ..
    } = sentry_trace(trace);
    hub.start_transaction(TransactionContext::new_with_details(
        &name(facts),
        "http.server",
        trace_id,
        Some(span_id),
        parent_span_id,
    ))
}

fn span_status(status: u16) -> SpanStatus {
    match status {
        ..=399 => SpanStatus::Ok,
        401 => SpanStatus::Unauthenticated,
        403 => SpanStatus::PermissionDenied,
        404 => SpanStatus::NotFound,
        409 => SpanStatus::AlreadyExists,
        429 => SpanStatus::ResourceExhausted,
        499 => SpanStatus::Cancelled,
        503 => SpanStatus::Unavailable,
        500.. => SpanStatus::InternalError,
        _ => SpanStatus::InvalidArgument,
    }
}
