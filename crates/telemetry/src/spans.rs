//! Traces: one span a request, sent to a collector by OTLP over HTTP in its JSON encoding.
//!
//! The service has no spans below a request's, so that a serializer of one shape does here what
//! would take the whole of the `OpenTelemetry` SDK otherwise.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::Url;

use crate::Settings;
use crate::lines::now;
use crate::outbox::{Destination, Outbox};
use crate::request::RequestFacts;
use crate::trace::TraceContext;

/// Spans that may wait for delivery, spans of one delivery, and how long the first waits for more.
const WAITING: usize = 2_048;
const BATCH: usize = 512;
const LINGER: Duration = Duration::from_millis(500);

/// As OTLP numbers them.
const KIND_SERVER: u8 = 2;
const STATUS_ERROR: u8 = 2;

static OUTBOX: OnceLock<Outbox<Span>> = OnceLock::new();

/// Sends spans until it is dropped.
#[derive(Debug)]
pub(crate) struct Spans(Outbox<Span>);

impl Spans {
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.0.flush(deadline)
    }
}

/// Starts sending spans, where there is a collector.
pub(crate) fn start(config: &Settings) -> Option<Spans> {
    let resource = resource(config);
    let destination = Destination {
        name: "traces",
        url: address(config.otlp_endpoint.as_ref()?),
        headers: vec![("content-type", "application/json".to_owned())],
        waiting: WAITING,
        batch: BATCH,
        linger: LINGER,
    };
    let outbox = Outbox::start(destination, move |spans| encode(&resource, spans)).ok()?;
    let _ = OUTBOX.set(outbox.clone());
    Some(Spans(outbox))
}

/// Where a collector takes traces: the endpoint is the one for all signals.
fn address(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

fn resource(config: &Settings) -> Value {
    json!({ "attributes": [
        text("service.name", config.service),
        text("service.version", &config.version),
        text("deployment.environment.name", config.environment),
    ]})
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    trace: TraceContext,
    facts: RequestFacts,
    began: DateTime<Utc>,
    took: Instant,
}

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct Span {
    open: OpenSpan,
    ended: DateTime<Utc>,
    status: u16,
    user: Option<String>,
}

/// Begins a span, where spans are sent and the caller did not say that it keeps none.
pub(crate) fn begin(facts: &RequestFacts, trace: &TraceContext) -> Option<OpenSpan> {
    let wanted = OUTBOX.get().is_some() && trace.sampled != Some(false);
    wanted.then(|| OpenSpan {
        trace: trace.clone(),
        facts: facts.clone(),
        began: now(),
        took: Instant::now(),
    })
}

impl OpenSpan {
    /// Hands the span over for delivery.
    pub(crate) fn end(self, status: u16, user: Option<String>) {
        if let Some(outbox) = OUTBOX.get() {
            outbox.send(Span {
                ended: self.began + self.took.elapsed(),
                open: self,
                status,
                user,
            });
        }
    }
}

fn encode(resource: &Value, spans: &[Span]) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(Span::to_json).collect();
    let scope = json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") });
    let request = json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }]});
    serde_json::to_vec(&request).unwrap_or_default()
}

impl Span {
    fn to_json(&self) -> Value {
        let OpenSpan { trace, facts, .. } = &self.open;
        let status = json!({ "key": "http.response.status_code",
            "value": { "intValue": self.status.to_string() } });
        let mut attributes = vec![
            text("http.request.method", facts.method().as_str()),
            text("http.route", facts.template()),
            text("request.id", facts.request_id()),
            status,
        ];
        attributes.extend(self.user.as_deref().map(|id| text("user.id", id)));
        let mut span = json!({
            "traceId": trace.trace_id.as_str(),
            "spanId": trace.span_id.as_str(),
            "name": format!("{} {}", facts.method(), facts.template()),
            "kind": KIND_SERVER,
            "startTimeUnixNano": nanos(self.open.began),
            "endTimeUnixNano": nanos(self.ended),
            "attributes": attributes,
        });
        if let Some(parent) = &trace.parent_id {
            span["parentSpanId"] = parent.as_str().into();
        }
        if self.status >= 500 {
            span["status"] = json!({ "code": STATUS_ERROR });
        }
        span
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// As text, since a JSON number cannot hold it.
fn nanos(time: DateTime<Utc>) -> String {
    time.timestamp_nanos_opt().unwrap_or_default().to_string()
}
