//! The log of a test, read back.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tracing::Subscriber;
use tracing_subscriber::fmt::format::DefaultFields;
use tracing_subscriber::fmt::{FormatEvent, fmt};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;

use crate::lines::JsonLines;
use crate::log;

/// The lines that were written; a clone is another handle on them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Returns a subscriber that writes them as JSON, with the filter of `LOG_LEVEL=info`.
    #[must_use]
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        self.subscriber_of(JsonLines)
    }

    /// Returns a subscriber that writes them in a format.
    pub(crate) fn subscriber_of<F>(&self, format: F) -> impl Subscriber + Send + Sync + 'static
    where
        F: FormatEvent<Registry, DefaultFields> + Send + Sync + 'static,
    {
        let writer = self.clone();
        fmt()
            .event_format(format)
            .with_writer(move || writer.clone())
            .finish()
            .with(log::targets(&format!("{},info", log::QUIET)))
    }

    /// All of them.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&lines).into_owned()
    }

    /// The last one, which must be JSON and end like a line.
    ///
    /// # Panics
    /// If it is not JSON or does not end.
    #[must_use]
    pub fn last(&self) -> Value {
        let text = self.text();
        let lines = text.strip_suffix('\n').unwrap();
        serde_json::from_str(lines.lines().last().unwrap()).unwrap()
    }
}
