//! How a line of the log looks: its own fields, and those of the request that it was written for.
//!
//! The request is looked up where a line is written. A `tracing` span for each request would be
//! formatted for each, though most write nothing but their line in the access log.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write as _};

use chrono::{DateTime, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::request;

/// One JSON object a line: `timestamp` (RFC 3339), `level`, `target`, the line's own fields, then
/// `request_id`, `trace_id`, `method` and `route` where it was written for a request.
pub(crate) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = Object(String::with_capacity(LINE));
        object.0.push_str("{\"timestamp\":\"");
        push_time(&mut object.0, now());
        object.0.push_str("\",\"level\":\"");
        object.0.push_str(event.metadata().level().as_str());
        object.0.push('"');
        object.text("target", event.metadata().target());
        event.record(&mut object);
        request::with_current(|request| {
            for (name, value) in request.names() {
                object.text(name, value);
            }
        });
        object.0.push_str("}\n");
        line.write_str(&object.0)
    }
}

/// Bytes of most lines, at most.
const LINE: usize = 512;

/// A JSON object that lacks its end.
struct Object(String);

impl Object {
    fn name(&mut self, name: &str) {
        self.0.push_str(",\"");
        // A field may be named as a keyword is, by `r#`.
        push_escaped(&mut self.0, name.strip_prefix("r#").unwrap_or(name));
        self.0.push_str("\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push('"');
        push_escaped(&mut self.0, value);
        self.0.push('"');
    }

    fn number(&mut self, field: &Field, value: impl itoa::Integer) {
        self.name(field.name());
        self.0.push_str(itoa::Buffer::new().format(value));
    }
}

impl Visit for Object {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field.name());
        if value.is_finite() {
            self.0.push_str(zmij::Buffer::new().format_finite(value));
        } else {
            self.0.push_str("null");
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field.name());
        self.0.push_str(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field.name());
        self.0.push('"');
        // Writing to a string cannot fail.
        let _ = write!(Escaped(&mut self.0), "{value:?}");
        self.0.push('"');
    }
}

/// Text on its way into a JSON string.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// The bytes that a JSON string must not have as they are.
const IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = true;
        control += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Adds text to a JSON string (RFC 8259 §7).
fn push_escaped(out: &mut String, text: &str) {
    let is_special = |byte: u8| IS_SPECIAL[usize::from(byte)];
    // Most have nothing to escape, which is seen fastest without a way out of the loop.
    if !text.bytes().fold(false, |any, byte| any | is_special(byte)) {
        out.push_str(text);
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_special) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'\n' => out.push_str("\\n"),
            byte @ (b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

thread_local! {
    /// The second that was written last, and its text: a calendar costs more than the rest of a line.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// The time of this process, which log lines are stamped with.
#[expect(
    clippy::disallowed_methods,
    reason = "a log line's time is compared with no other process's"
)]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Adds a time to the microsecond (RFC 3339).
fn push_time(out: &mut String, time: DateTime<Utc>) {
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != time.timestamp() {
            *second = time.timestamp();
            *text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
        }
        out.push_str(text);
    });
    // A leap second counts on beyond a million.
    let micros = time.timestamp_subsec_micros().min(999_999);
    out.push('.');
    out.push_str(&itoa::Buffer::new().format(1_000_000 + micros)[1..]);
    out.push('Z');
}

/// Text for people, with the names of its request at the end.
pub(crate) struct TextLines(pub(crate) Format<Compact>);

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.0
            .format_event(context, Writer::new(&mut text), event)?;
        line.write_str(text.trim_end())?;
        request::with_current(|request| {
            let mut names = request.names().into_iter();
            names.try_for_each(|(name, value)| write!(line, " {name}={value}"))
        })
        .transpose()?;
        line.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use serde_json::{Value, json};
    use tracing_subscriber::fmt::format;

    use crate::testing::Lines;
    use crate::*;
    use crate::{RequestFacts, RequestScope};

    fn written(write: impl FnOnce()) -> Value {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.subscriber(), write);
        lines.last()
    }

    #[test]
    fn each_kind_of_field_is_json_of_its_kind() {
        let line = written(|| {
            tracing::warn!(
                target: "here",
                count = 3_u64,
                below = -3_i64,
                share = 0.5,
                none = f64::NAN,
                is_so = true,
                text = "a\"b\\c\nd\te\u{1}f ü",
                shown = %"it's \"this\"",
                debug = ?Some("x"),
                r#type = "kind",
                "{} happened", "it",
            );
        });
        let mut expected = json!({
            "level": "WARN", "target": "here", "count": 3, "below": -3, "share": 0.5, "none": null,
            "is_so": true, "text": "a\"b\\c\nd\te\u{1}f ü", "shown": "it's \"this\"",
            "debug": "Some(\"x\")", "type": "kind", "message": "it happened",
        });
        expected["timestamp"] = line["timestamp"].clone();
        assert_eq!(line, expected);
    }

    #[test]
    fn a_time_is_written_to_the_microsecond() {
        let written = |nanos: i64| {
            let mut text = String::new();
            push_time(&mut text, DateTime::from_timestamp_nanos(nanos));
            text
        };
        assert_eq!(written(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(7_001), "1970-01-01T00:00:00.000007Z");
        assert_eq!(
            written(1_795_275_907_123_456_789),
            "2026-11-21T15:45:07.123456Z"
        );
        assert_eq!(written(-1_000), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_line_names_the_request_that_it_was_written_for() {
        let request = Request::get("/secret/path").body(axum::body::Body::empty());
        let facts = RequestFacts::of(&request.unwrap(), "abc".parse().unwrap());
        let scope = RequestScope::begin(None, || [7; 24], facts, || None);
        let line = written(|| scope.enter(|| tracing::info!("within")));
        assert_eq!(line["request_id"], "abc");
        assert_eq!(line["trace_id"], scope.trace_id());
        assert_eq!(line["method"], "GET");
        assert_eq!(line["route"], "unmatched");
        let line = written(|| tracing::info!("outside"));
        assert_eq!(line.get("request_id"), None);

        let lines = Lines::default();
        let text = TextLines(format().compact().with_ansi(false));
        tracing::subscriber::with_default(lines.subscriber_of(text), || {
            scope.enter(|| tracing::info!(count = 3, "within"));
            tracing::info!("outside");
        });
        let text = lines.text();
        let trace_id = scope.trace_id();
        let names = format!(" request_id=abc trace_id={trace_id} method=GET route=unmatched\n");
        let (within, outside) = text.split_once(&names).expect("it names its request");
        assert!(within.ends_with("within count=3"), "{within}");
        assert!(outside.ends_with("outside\n") && !outside.contains("request_id"));
    }
}
