//! Traces: `tracing` spans with the target `otel` and one span for each SQL statement, exported to an
//! `OpenTelemetry` collector by OTLP over HTTP with its JSON encoding.
//!
//! Log lines do not become events of spans: their fields are not chosen for a third party.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult, SdkTracer,
    SdkTracerProvider, ShouldSample,
};
use tokio::runtime::Runtime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::TelemetryConfig;
use crate::lines::system_time;
use crate::request::RequestFacts;

/// Directives of the log filter that enable what spans are made from. At the end, so that `LOG_LEVEL`
/// has no influence on traces.
pub(crate) const ENABLED: &str =
    "otel=info,sqlx::query=trace,graphile_worker::runner::task_execution=info";

/// Without a collector a span costs the check of a flag where it would be created.
pub(crate) const DISABLED: &str = "otel=off";

/// Spans that may wait for export (a request has about ten), and spans of one export.
const QUEUE: usize = 8_192;
const BATCH: usize = 512;
const EXPORT_EVERY: Duration = Duration::from_millis(500);

/// Target and name of the queue's span of a job.
const JOB: (&str, &str) = ("graphile_worker::runner::task_execution", "run_job");

static EXPORTS: AtomicBool = AtomicBool::new(false);

/// Returns whether spans are exported.
#[must_use]
pub fn exports_spans() -> bool {
    EXPORTS.load(Ordering::Relaxed)
}

/// Exports spans until it is dropped.
#[derive(Debug)]
pub(crate) struct Spans(SdkTracerProvider);

impl Spans {
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.0.shutdown_with_timeout(left).is_ok()
    }
}

/// Starts the exporter, where there is a collector.
pub(crate) fn start<S>(
    settings: &TelemetryConfig,
) -> Result<Option<(Spans, SpanLayer<S>)>, HttpError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(traces_url(endpoint))
        .with_timeout(crate::exporter::TIMEOUT)
        .with_http_client(Client::new()?)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(EntryPoints)))
        .with_resource(resource(settings))
        .build();
    let tracer = provider.tracer(settings.service);
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.clone())
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false);
    EXPORTS.store(true, Ordering::Relaxed);
    Ok(Some((Spans(provider), SpanLayer { spans, tracer })))
}

/// The endpoint is the base URL of all signals.
fn traces_url(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

fn resource(settings: &TelemetryConfig) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", settings.service),
            KeyValue::new("service.version", settings.version.clone()),
            KeyValue::new("deployment.environment.name", settings.environment),
        ])
        .build()
}

/// HTTP client with a runtime of its own, for the exporter's thread.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Runtime,
}

impl Client {
    fn new() -> Result<Self, HttpError> {
        Ok(Self {
            client: crate::exporter::http_client()?,
            runtime: crate::exporter::runtime()?,
        })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.block_on(self.client.send_bytes(request))
    }
}

/// Sampler of spans without a parent: traces begin at requests and jobs. A statement of a background
/// task or a health check would be a trace of one span.
#[derive(Clone, Debug)]
struct EntryPoints;

impl ShouldSample for EntryPoints {
    fn should_sample(
        &self,
        _: Option<&Context>,
        _: TraceId,
        name: &str,
        kind: &SpanKind,
        _: &[KeyValue],
        _: &[Link],
    ) -> SamplingResult {
        SamplingResult {
            decision: if *kind == SpanKind::Server || name == JOB.1 {
                SamplingDecision::RecordAndSample
            } else {
                SamplingDecision::Drop
            },
            attributes: Vec::new(),
            trace_state: TraceState::NONE,
        }
    }
}

/// Converts `tracing` spans and sqlx's log of statements to `OpenTelemetry` spans.
pub(crate) struct SpanLayer<S> {
    spans: OpenTelemetryLayer<S, SdkTracer>,
    tracer: SdkTracer,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer<S> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        let span = attributes.metadata();
        // Fields of other spans of libraries may hold anything.
        if span.target() == "otel" || (span.target(), span.name()) == JOB {
            self.spans.on_new_span(attributes, id, context);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        self.spans.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: layer::Context<'_, S>) {
        self.spans.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: layer::Context<'_, S>) {
        self.spans.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: layer::Context<'_, S>) {
        self.spans.on_close(id, context);
    }

    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" && is_sampled() {
            let mut statement = Statement::default();
            event.record(&mut statement);
            statement.export(&self.tracer);
        }
    }
}

fn is_sampled() -> bool {
    Context::map_current(|current| current.span().span_context().is_sampled())
}

/// A statement that has ended, as sqlx logs it: its text has placeholders for values.
#[derive(Default)]
struct Statement {
    summary: String,
    text: String,
    rows: i64,
    seconds: f64,
}

impl Statement {
    fn export(self, tracer: &SdkTracer) {
        let ended = system_time();
        let began =
            ended.checked_sub(Duration::try_from_secs_f64(self.seconds).unwrap_or_default());
        let text = match self.text.trim() {
            "" => self.summary,
            text => text.to_owned(),
        };
        tracer
            .span_builder(summary(&text))
            .with_kind(SpanKind::Client)
            .with_start_time(began.unwrap_or(ended))
            .with_attributes([
                KeyValue::new("db.system.name", "postgresql"),
                KeyValue::new("db.query.text", text),
                KeyValue::new("db.response.returned_rows", self.rows),
            ])
            .start(tracer)
            .end_with_timestamp(ended);
    }
}

/// Operation and first table of a statement: `SELECT users`.
fn summary(sql: &str) -> String {
    let operation = sql.split_whitespace().next().unwrap_or_default();
    let mut words = sql.split_whitespace();
    let table = words
        .find(|word| matches!(*word, "FROM" | "INTO" | "UPDATE"))
        .and_then(|_| words.next()?.split(['(', ')', ',', ';']).next())
        .unwrap_or_default();
    format!("{operation} {table}").trim_end().to_owned()
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.text),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "rows_returned" {
            self.rows = i64::try_from(value).unwrap_or(i64::MAX);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

/// Begins the span of a request, as a child of the caller's span.
pub(crate) fn request_span(facts: &RequestFacts, parent: Option<&SpanContext>) -> Span {
    if !exports_spans() {
        return Span::none();
    }
    let parent = parent.map_or_else(Context::new, |parent| {
        Context::new().with_remote_span_context(parent.clone())
    });
    let _attached = parent.attach();
    tracing::info_span!(
        target: "otel",
        "request",
        otel.name = format_args!("{} {}", facts.method(), facts.template()),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = facts.method().as_str(),
        http.route = facts.template(),
        http.response.status_code = tracing::field::Empty,
        request.id = facts.request_id(),
        user.id = tracing::field::Empty,
    )
}

/// Completes the span of a request, which ends when its last handle is dropped.
pub(crate) fn end_request_span(span: &Span, status: u16, user: impl FnOnce() -> Option<String>) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", i64::from(status));
    if let Some(user) = user() {
        span.record("user.id", user);
    }
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// The ids of a span that is exported or continues a caller's trace.
pub(crate) fn context_of(span: &Span) -> Option<SpanContext> {
    let context = || Context::map_current(|current| current.span().span_context().clone());
    (!span.is_disabled()).then(|| span.in_scope(context))
}

/// The innermost span of the code that runs, if it is exported.
pub(crate) fn current() -> Option<SpanContext> {
    is_sampled().then(|| Context::map_current(|current| current.span().span_context().clone()))
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn a_statement_is_named_by_its_operation_and_table() {
        for (sql, name) in [
            ("SELECT id, email FROM users WHERE id = $1", "SELECT users"),
            (
                "INSERT INTO users (id, email) VALUES ($1, $2)",
                "INSERT users",
            ),
            ("UPDATE users SET name = $1", "UPDATE users"),
            (
                "SELECT 1 FROM graphile_worker.add_job($1, $2)",
                "SELECT graphile_worker.add_job",
            ),
            (
                "WITH gone AS (DELETE FROM sessions) SELECT 1",
                "WITH sessions",
            ),
            ("SELECT count(*) FROM (SELECT 1)", "SELECT"),
            ("COMMIT", "COMMIT"),
        ] {
            assert_eq!(summary(sql), name);
        }
    }
}
