//! What the service tells of itself: its log, reports of errors and traces of requests.
//!
//! Reports go to Sentry where `SENTRY_DSN` is set, traces to an OTLP collector where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` is. Neither is ever waited for, and neither carries an address, a
//! token, a password, a query or a header. `tracing::error!` is what makes a report.

mod capture;
mod lines;
#[cfg(test)]
mod lines_test;
mod log;
mod redact;
mod reports;
mod request;
mod spans;
mod trace;

use std::time::{Duration, Instant};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::TelemetryConfig;

pub use capture::capture;
#[cfg(test)]
pub(crate) use lines_test::Lines;
pub use log::dropped_lines;
pub use request::{RequestFacts, RequestScope, traceparent};

/// How long the end of the process waits for reports and traces that are still to be delivered.
const FLUSH: Duration = Duration::from_secs(2);

/// What runs until it is dropped, which writes the lines and sends the reports that still wait.
#[must_use = "telemetry ends with its guard"]
#[derive(Debug)]
pub struct Telemetry {
    _log: WorkerGuard,
    reports: Option<reports::Reports>,
    spans: Option<spans::Spans>,
}

/// Starts the log, reports and traces; before the runtime, so that all of its threads report.
pub fn start(config: &TelemetryConfig) -> Telemetry {
    let (lines, log) = log::layer(config);
    log_panics();
    let reports = reports::start(config);
    tracing_subscriber::registry()
        .with(lines)
        .with(reports.as_ref().map(|_| reports::ReportLayer))
        .with(log::filter(config))
        .init();
    Telemetry {
        _log: log,
        reports,
        spans: spans::start(config),
    }
}

/// Writes panics to the log, wherever they happen. The standard library writes them to standard error
/// as text, which a collector of JSON lines does not read.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        // The field `panic` keeps it from being reported as an error besides.
        tracing::error!(
            panic = message,
            place = place.as_deref().unwrap_or("unknown"),
            thread = thread.name().unwrap_or("unnamed"),
            "a thread panicked"
        );
    }));
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH;
        let reported = self.reports.as_ref().is_none_or(|it| it.flush(deadline));
        let traced = self.spans.as_ref().is_none_or(|it| it.flush(deadline));
        if !(reported && traced) {
            tracing::warn!("some reports or traces could not be delivered in time");
        }
    }
}
