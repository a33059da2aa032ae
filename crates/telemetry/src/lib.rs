//! Structured logs, error reports, traces and the metrics recorder of a service.
//!
//! `tracing::error!` with an `error` field is what makes an error report.

mod capture;
mod config;
mod exporter;
mod lines;
mod log;
pub mod prometheus;
mod redact;
mod reports;
mod request;
mod spans;
pub mod testing;
mod trace;

use std::error::Error;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use capture::{capture, capture_message};
pub use config::{TelemetryConfig, TelemetrySettings, statement_log};
pub use log::dropped_lines;
pub use request::{RequestFacts, RequestScope, traceparent};
pub use spans::exports_spans;

/// How long the end of the process waits for reports and traces that are still to be delivered.
const FLUSH: Duration = Duration::from_secs(2);

/// Guard of the exporters: dropping it writes the remaining lines and sends the remaining reports.
#[must_use = "telemetry ends with its guard"]
#[derive(Debug)]
pub struct Telemetry {
    _log: WorkerGuard,
    reports: Option<reports::Reports>,
    spans: Option<spans::Spans>,
}

/// Starts the log, reports and traces; before the runtime, so that all of its threads report.
pub fn start(config: &TelemetryConfig) -> Telemetry {
    let (spans, fault) = match spans::start(config) {
        Ok(spans) => (spans, None),
        Err(error) => (None, Some(error)),
    };
    let (spans, span_layer) = spans.unzip();
    let (lines, log) = log::layer(config);
    log_panics();
    let reports = reports::start(config);
    tracing_subscriber::registry()
        .with(span_layer)
        .with(lines)
        .with(
            reports
                .as_ref()
                .map(|_| log::enabled(reports::ReportLayer, config)),
        )
        .with(log::filter(config))
        .init();
    if let Some(error) = fault {
        tracing::warn!(%error, "cannot export traces");
    }
    Telemetry {
        _log: log,
        reports,
        spans,
    }
}

/// Writes panics to the log, wherever they happen. The standard library writes them to standard error
/// as text, which a collector of JSON lines does not read.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        // With the field `panic` it is not reported as an error as well.
        tracing::error!(
            panic = message,
            place = place.as_deref().unwrap_or("unknown"),
            thread = thread.name().unwrap_or("unnamed"),
            "a thread panicked"
        );
    }));
}

/// Prints an error and its causes to standard error, for when no log runs.
#[expect(
    clippy::print_stderr,
    reason = "before the log starts and after it ends there is no other output"
)]
pub fn print_error(error: &dyn Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH;
        let reported = self.reports.as_ref().is_none_or(|it| it.flush(deadline));
        let traced = self.spans.as_ref().is_none_or(|it| it.flush(deadline));
        if !(reported && traced) {
            tracing::warn!("cannot deliver all error reports and traces in time");
        }
    }
}
