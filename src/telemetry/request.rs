//! What telemetry keeps of a request while it is under way: its trace, and the scope of its reports.

use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use axum::http::HeaderMap;
use futures_util::future::Either;
use sentry::protocol::{SpanStatus, TraceContext as SentryTrace};
use sentry::{Hub, SentryFutureExt as _, Transaction, TransactionContext, User};

use super::reports;
use super::spans::{self, OpenSpan};
use super::trace::TraceContext;
use crate::infra::Rng;

/// What a request is known by.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// Its method.
    pub method: &'a str,
    /// The template of its route.
    pub route: &'a str,
}

tokio::task_local! {
    /// The trace of the request that is being handled, and whether we keep our part of it.
    static CURRENT: (Arc<TraceContext>, bool);
}

/// The `traceparent` header for what the request at hand asks of other services (W3C Trace Context
/// §3.2); `None` outside of a request.
#[must_use]
pub fn traceparent() -> Option<String> {
    CURRENT
        .try_with(|(trace, is_kept)| trace.header(*is_kept))
        .ok()
}

/// Tells who is signed in.
pub trait Asker:
    Fn() -> Option<String> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static
{
}

impl<F> Asker for F where
    F: Fn() -> Option<String> + Send + Sync + UnwindSafe + RefUnwindSafe + 'static
{
}

/// The trace of a request and the scope that its reports are made in.
#[derive(Debug)]
pub struct RequestScope {
    trace: Arc<TraceContext>,
    hub: Option<Arc<Hub>>,
    transaction: Option<Transaction>,
    span: Option<OpenSpan>,
}

impl RequestScope {
    /// Begins a request; `user` tells who is signed in, once that is known.
    #[must_use]
    pub fn begin(
        headers: &HeaderMap,
        rng: &Rng,
        facts: RequestFacts<'_>,
        user: impl Asker,
    ) -> Self {
        let trace = Arc::new(TraceContext::of(headers, rng));
        let share = reports::traced_share();
        let is_probe = facts.route.starts_with("/health");
        let hub = share.map(|_| hub(facts, &trace, user));
        let is_drawn = share.is_some_and(|share| trace.lot() < share);
        let transaction = hub.as_ref().filter(|_| is_drawn && !is_probe);
        let transaction = transaction.and_then(|hub| transaction_of(hub, facts, &trace));
        let span = if is_probe {
            None
        } else {
            spans::begin(facts, &trace)
        };
        Self {
            trace,
            hub,
            transaction,
            span,
        }
    }

    /// The id of the trace, for lines of the log.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace.trace_id
    }

    /// Lets what `future` reports belong to this request.
    pub fn bind<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let future = match &self.hub {
            Some(hub) => Either::Left(future.bind_hub(Arc::clone(hub))),
            None => Either::Right(future),
        };
        let is_kept = self.span.is_some() || self.transaction.is_some();
        CURRENT.scope((Arc::clone(&self.trace), is_kept), future)
    }

    /// Ends the request.
    pub fn end(&mut self, status: u16, user: impl FnOnce() -> Option<String>) {
        if let (Some(transaction), Some(hub)) = (self.transaction.take(), &self.hub) {
            transaction.set_status(meaning(status));
            transaction.set_data("http.response.status_code", status.into());
            Hub::run(Arc::clone(hub), || transaction.finish());
        }
        if let Some(span) = self.span.take() {
            span.end(status, user());
        }
    }
}

/// A hub of its own: what one request leaves in its scope must not reach another's report.
fn hub(facts: RequestFacts<'_>, trace: &TraceContext, user: impl Asker) -> Arc<Hub> {
    let hub = Hub::new_from_top(Hub::main());
    hub.configure_scope(|scope| {
        scope.set_transaction(Some(&name(facts)));
        scope.set_tag("request_id", facts.request_id);
        scope.set_tag("method", facts.method);
        scope.set_tag("route", facts.route);
        if let Some(trace) = sentry_trace(trace) {
            scope.set_context("trace", trace);
        }
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

fn name(facts: RequestFacts<'_>) -> String {
    format!("{} {}", facts.method, facts.route)
}

fn sentry_trace(trace: &TraceContext) -> Option<SentryTrace> {
    Some(SentryTrace {
        trace_id: trace.trace_id.parse().ok()?,
        span_id: trace.span_id.parse().ok()?,
        parent_span_id: trace.parent_id.as_ref().and_then(|id| id.parse().ok()),
        op: Some("http.server".to_owned()),
        ..SentryTrace::default()
    })
}

fn transaction_of(hub: &Hub, facts: RequestFacts<'_>, trace: &TraceContext) -> Option<Transaction> {
    let SentryTrace {
        trace_id,
        span_id,
        parent_span_id,
        ..
    } = sentry_trace(trace)?;
    Some(hub.start_transaction(TransactionContext::new_with_details(
        &name(facts),
        "http.server",
        trace_id,
        Some(span_id),
        parent_span_id,
    )))
}

fn meaning(status: u16) -> SpanStatus {
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
