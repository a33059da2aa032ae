//! Logs: one JSON object a line in production, text for people in development.
//!
//! The writer never blocks and never fails: lines go through a bounded queue to a thread of its
//! own, and when a stalled reader or a full disk lets the queue fill up, lines are dropped and the
//! service goes on.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::TelemetryConfig;

/// Lines that may wait for the writer.
const WAITING_LINES: usize = 8_192;

/// Libraries that tell too much; `LOG_LEVEL` can turn them up again by name. The queue's would write
/// the payload of each job that fails, which may hold somebody's address; `jobs` tells without it.
const QUIET: &str =
    "graphile_worker=off,graphile_worker_migrations=warn,sqlx::postgres::notice=warn";

/// Starts the log; lines that still wait are written when the guard is dropped.
#[must_use = "the log ends with its guard"]
pub fn start(config: &TelemetryConfig) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(std::io::stdout());
    // Left at its default, the layer reports a failed write on standard error, and panics when
    // that cannot be written either.
    let layer = fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stdout().is_terminal())
        .log_internal_errors(false);
    let layer = if config.json {
        layer
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed()
    } else {
        layer.compact().boxed()
    };
    let filter: Targets = format!("{QUIET},{}", config.level)
        .parse()
        .unwrap_or_default();
    // A filter of all layers, not of this one: a library that asks whether a line would be written,
    // hears no and writes none would make a layer's own filter lose the next line of that thread.
    tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .init();
    guard
}
