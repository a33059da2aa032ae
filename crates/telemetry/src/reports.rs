//! Error and panic reports to Sentry.
//!
//! Events are built from an allow-list of fields: the library's layers send every field of every line.
//! The transport is our own: the library's waits without limit at shutdown once its queue is full.

use std::fmt::Debug;
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use sentry::protocol::{Event, Exception, Frame, Mechanism, Stacktrace, Value};
use sentry::{
    Breadcrumb, Client, ClientOptions, Envelope, Hub, Level, Transport, TransportFactory,
};
use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::TelemetryConfig;
use crate::exporter::{Destination, Exporter};
use crate::redact::redact;

/// The fields of a line that a report may carry beside its message and its error.
const FIELDS: [&str; 6] = ["attempt", "code", "id", "job", "status", "variable"];

/// Reports that may wait for delivery.
const QUEUE_SIZE: usize = 64;

/// Log lines before an error that its report includes.
const BREADCRUMBS: usize = 30;

static SAMPLE_RATE: OnceLock<f32> = OnceLock::new();

/// Fraction of requests that Sentry traces; `None` without a DSN.
pub(crate) fn sample_rate() -> Option<f32> {
    SAMPLE_RATE.get().copied()
}

/// Reports until it is dropped.
#[derive(Debug)]
pub(crate) struct Reports(Exporter<Envelope>);

impl Reports {
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        self.0.flush(deadline)
    }
}

/// Starts reporting, where there is a DSN.
pub(crate) fn start(config: &TelemetryConfig) -> Option<Reports> {
    let dsn: sentry::types::Dsn = config.sentry_dsn.as_ref()?.expose_secret().parse().ok()?;
    let agent = format!("{}/{}", config.service, config.version);
    let destination = Destination {
        name: "reports",
        url: dsn.envelope_api_url().to_string(),
        headers: vec![
            ("x-sentry-auth", dsn.to_auth(Some(&agent)).to_string()),
            ("content-type", "application/x-sentry-envelope".to_owned()),
        ],
        queue_size: QUEUE_SIZE,
        batch: 1,
        delay: Duration::ZERO,
    };
    let exporter = Exporter::start(destination, encode).ok()?;
    let mut options = ClientOptions::new()
        .release(format!("{}@{}", config.service, config.version))
        .environment(config.environment)
        .max_breadcrumbs(BREADCRUMBS)
        .default_integrations(false)
        .before_send(|event| Some(scrub(event)))
        .transport(ToExporter(exporter.clone()))
        // Which request is traced is decided where it begins.
        .traces_sampler(|_| 1.0);
    options.dsn = Some(dsn);
    Hub::main().bind_client(Some(Arc::new(Client::from(options))));
    let _ = SAMPLE_RATE.set(config.sentry_traces_sample_rate);
    report_panics();
    Some(Reports(exporter))
}

struct ToExporter(Exporter<Envelope>);

impl Transport for ToExporter {
    fn send_envelope(&self, envelope: Envelope) {
        self.0.send(envelope);
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.0.flush(Instant::now() + timeout)
    }
}

impl TransportFactory for ToExporter {
    fn create_transport_with_options(&self, _: sentry::TransportOptions) -> Arc<dyn Transport> {
        Arc::new(Self(self.0.clone()))
    }
}

fn encode(envelopes: &[Envelope]) -> Vec<u8> {
    let mut body = Vec::new();
    for envelope in envelopes {
        // Writing to memory does not fail.
        let _ = envelope.to_writer(&mut body);
    }
    body
}

/// Removes the request, the host and all of the user but the id, whatever set them, and redacts texts.
fn scrub(mut event: Event<'static>) -> Event<'static> {
    event.request = None;
    event.server_name = None;
    event.extra.clear();
    event.message = event.message.map(|text| redact(&text));
    for exception in &mut event.exception {
        exception.value = exception.value.as_deref().map(redact);
    }
    if let Some(user) = &mut event.user {
        *user = sentry::User {
            id: user.id.take(),
            ..sentry::User::default()
        };
    }
    event
}

/// Reports a message that is no error; nothing without a DSN.
pub(crate) fn report_message(message: &str, is_warning: bool) {
    let level = if is_warning {
        Level::Warning
    } else {
        Level::Info
    };
    sentry::capture_message(message, level);
}

/// Converts log events to error reports and breadcrumbs.
pub(crate) struct ReportLayer;

impl<S: Subscriber> Layer<S> for ReportLayer {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = *metadata.level();
        if level > tracing::Level::INFO || metadata.target() == "access" {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        if level > tracing::Level::ERROR {
            sentry::add_breadcrumb(line.breadcrumb(metadata));
        } else if !line.is_panic {
            sentry::capture_event(line.report(metadata));
        }
    }
}

/// Fields of a log event that a report includes.
#[derive(Default)]
struct Line {
    message: String,
    error: Option<String>,
    /// A panic was reported when it began, with its place.
    is_panic: bool,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn set(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "error" => self.error = Some(value),
            "panic" => self.is_panic = true,
            name if FIELDS.contains(&name) => self.fields.push((name, redact(&value))),
            _ => {}
        }
    }

    fn breadcrumb(self, metadata: &Metadata<'_>) -> Breadcrumb {
        let error = self.error.map(|error| ("error", redact(&error)));
        let fields = self.fields.into_iter().chain(error);
        Breadcrumb {
            ty: "log".to_owned(),
            level: level(metadata),
            category: Some(metadata.target().to_owned()),
            message: Some(redact(&self.message)),
            data: fields
                .map(|(name, value)| (name.to_owned(), Value::String(value)))
                .collect(),
            ..Breadcrumb::default()
        }
    }

    fn report(self, metadata: &Metadata<'_>) -> Event<'static> {
        let mut event = Event {
            level: level(metadata),
            logger: Some(metadata.target().to_owned()),
            ..Event::default()
        };
        for (name, value) in self.fields {
            event.tags.insert(name.to_owned(), value);
        }
        match self.error {
            // As an exception, reports are grouped by what went wrong and not by the sentence.
            Some(error) => event.exception.values.push(Exception {
                ty: self.message,
                value: Some(error),
                module: metadata.module_path().map(str::to_owned),
                stacktrace: place(metadata.file(), metadata.line()),
                ..Exception::default()
            }),
            None => event.message = Some(self.message),
        }
        event
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        _ => Level::Info,
    }
}

/// Stack trace of one frame: the released binary has no symbols for more.
fn place(file: Option<&str>, line: Option<u32>) -> Option<Stacktrace> {
    let frame = Frame {
        filename: Some(file?.to_owned()),
        lineno: line.map(u64::from),
        in_app: Some(true),
        ..Frame::default()
    };
    Some(Stacktrace {
        frames: vec![frame],
        ..Stacktrace::default()
    })
}

/// Installs a panic hook. The library's own would wait for the report to be delivered.
fn report_panics() {
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        sentry::capture_event(panic_report(panic));
        next(panic);
    }));
}

fn panic_report(panic: &PanicHookInfo<'_>) -> Event<'static> {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location();
    let exception = Exception {
        ty: "panic".to_owned(),
        value: Some(message.to_owned()),
        mechanism: Some(Mechanism {
            ty: "panic".to_owned(),
            handled: Some(false),
            ..Mechanism::default()
        }),
        stacktrace: place(
            location.map(std::panic::Location::file),
            location.map(std::panic::Location::line),
        ),
        ..Exception::default()
    };
    Event {
        exception: vec![exception].into(),
        level: Level::Fatal,
        ..Event::default()
    }
}
