//! Logs: one JSON object a line in production, text for people in development.
//!
//! The writer never blocks and never fails: lines go through a bounded queue to a thread of its
//! own, and when a stalled reader or a full disk lets the queue fill up, lines are dropped and the
//! service goes on.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, fmt};

use crate::Settings;
use crate::lines::{JsonLines, TextLines};

/// Lines that may wait for the writer.
const WAITING_LINES: usize = 8_192;

/// Bytes that are written at once while more lines wait.
const BUFFER: usize = 64 * 1024;

/// How long a line waits for others.
const MOMENT: Duration = Duration::from_millis(2);

/// Libraries that tell too much; `LOG_LEVEL` can turn them up again by name. The queue's would write
/// the payload of each job that fails, which may hold somebody's address; `jobs` tells without it.
const QUIET: &str =
    "graphile_worker=off,graphile_worker_migrations=warn,sqlx::postgres::notice=warn";

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines of the log that were dropped because nobody read them in time.
#[must_use]
pub fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

/// The layer that writes lines, and the guard that writes those that still wait when it is dropped.
pub(crate) fn layer<S>(
    config: &Settings,
) -> (Box<dyn Layer<S> + Send + Sync + 'static>, WorkerGuard)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(Unhurried(BufWriter::with_capacity(
            BUFFER,
            std::io::stdout(),
        )));
    let _ = DROPPED.set(writer.error_counter());
    // Left at its default, the layer reports a failed write on standard error, and panics when
    // that cannot be written either.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = if config.json {
        layer.event_format(JsonLines).boxed()
    } else {
        let ansi = std::io::stdout().is_terminal();
        let text = |format: fmt::format::Format| TextLines(format.compact().with_ansi(ansi));
        layer.map_event_format(text).boxed()
    };
    (layer, guard)
}

/// A writer that waits a moment for more before it writes. Its thread flushes whenever it has caught
/// up, and would be woken by each line otherwise, which costs requests more than the line does.
struct Unhurried<W>(W);

impl<W: Write> Write for Unhurried<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the thread has nothing else to do"
        )]
        std::thread::sleep(MOMENT);
        self.0.flush()
    }
}

/// What is logged. A filter of all layers, not of one: a library that asks whether a line would be
/// written, hears no and writes none would make a layer's own filter lose the next line of that
/// thread.
pub(crate) fn filter(config: &Settings) -> Targets {
    format!("{QUIET},{}", config.log_level)
        .parse()
        .unwrap_or_default()
}
