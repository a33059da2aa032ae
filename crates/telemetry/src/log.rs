//! Log writer and filters: JSON lines in production, text in development.
//!
//! The writer never blocks and never fails: lines go through a bounded queue to a thread of its
//! own, and when a stalled reader or a full disk lets the queue fill up, lines are dropped and the
//! service goes on.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

use crate::TelemetryConfig;
use crate::lines::{JsonLines, TextLines};
use crate::spans::{self, exports_spans};

/// Lines that may wait for the writer.
const WAITING_LINES: usize = 8_192;

/// Bytes that are written at once while more lines wait.
const BUFFER: usize = 64 * 1024;

/// How long a line waits for others.
const FLUSH_DELAY: Duration = Duration::from_millis(2);

/// Libraries that log too much; `LOG_LEVEL` can enable them again by name. The queue's lines have the
/// payload of each job that fails, which may hold an address, those of the S3 client its requests with their headers.
pub(crate) const QUIET: &str =
    "aws_=warn,graphile_worker=off,graphile_worker_migrations=warn,sqlx::postgres::notice=warn";

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Number of log lines that were dropped since the queue was full.
#[must_use]
pub fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

/// The layer that writes lines, and the guard that writes those that still wait when it is dropped.
pub(crate) fn layer<S>(
    settings: &TelemetryConfig,
) -> (Box<dyn Layer<S> + Send + Sync + 'static>, WorkerGuard)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(DelayedFlush(BufWriter::with_capacity(
            BUFFER,
            std::io::stdout(),
        )));
    let _ = DROPPED.set(writer.error_counter());
    // Left at its default, the layer reports a failed write on standard error, and panics when
    // that cannot be written either.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = if settings.json {
        layer.event_format(JsonLines).boxed()
    } else {
        let ansi = std::io::stdout().is_terminal();
        let text = |format: fmt::format::Format| TextLines(format.compact().with_ansi(ansi));
        layer.map_event_format(text).boxed()
    };
    (enabled(layer, settings), guard)
}

/// Writer that delays a flush. The log's thread flushes whenever its queue is empty; without the delay
/// each line would wake it, which costs a request more than the line does.
struct DelayedFlush<W>(W);

impl<W: Write> Write for DelayedFlush<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the thread has nothing else to do"
        )]
        std::thread::sleep(FLUSH_DELAY);
        self.0.flush()
    }
}

/// Filter of all layers. A layer's own would lose lines: when a library asks whether a line is enabled
/// and then writes none, as sqlx does, the answer is applied to the thread's next line.
pub(crate) fn filter(settings: &TelemetryConfig) -> Targets {
    let spans = if exports_spans() {
        spans::ENABLED
    } else {
        spans::DISABLED
    };
    targets(&format!("{},{spans}", directives(settings)))
}

fn directives(settings: &TelemetryConfig) -> String {
    format!("{QUIET},{}", settings.level)
}

pub(crate) fn targets(directives: &str) -> Targets {
    directives.parse().unwrap_or_default()
}

/// The layer with the events that `LOG_LEVEL` enables.
pub(crate) fn enabled<S: Subscriber>(
    layer: impl Layer<S> + Send + Sync,
    settings: &TelemetryConfig,
) -> Box<dyn Layer<S> + Send + Sync> {
    if exports_spans() {
        let targets = targets(&directives(settings));
        Logged { layer, targets }.boxed()
    } else {
        layer.boxed()
    }
}

/// Passes on the events that `LOG_LEVEL` enables, where the filter of all layers also enables what
/// spans are made from. Spans are not passed on: lines do not show them.
struct Logged<L> {
    layer: L,
    targets: Targets,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Logged<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if self
            .targets
            .would_enable(metadata.target(), metadata.level())
        {
            self.layer.on_event(event, context);
        }
    }
}
