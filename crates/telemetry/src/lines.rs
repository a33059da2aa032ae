//! Format of log lines: their own fields, then those of the request that they were written for.
//!
//! The request's fields are looked up when a line is written. As fields of a `tracing` span they would be
//! formatted for each request, though most requests write one line.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write as _};
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::request;

/// One JSON object a line: `timestamp` (RFC 3339), `level`, `target`, the line's own fields, then
/// `request_id`, `trace_id`, `method` and `route` where it was written for a request.
///
/// Not the library's format, which has no request without a span of it and nests fields.
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
        let mut json = Vec::with_capacity(LINE);
        write_json(&mut json, event).map_err(|_| fmt::Error)?;
        line.write_str(str::from_utf8(&json).map_err(|_| fmt::Error)?)?;
        line.write_char('\n')
    }
}

/// Bytes of most lines, at most.
const LINE: usize = 512;

fn write_json(json: &mut Vec<u8>, event: &Event<'_>) -> serde_json::Result<()> {
    let mut serializer = serde_json::Serializer::new(json);
    let mut fields = Fields {
        map: serializer.serialize_map(None)?,
        result: Ok(()),
    };
    with_timestamp(system_time().into(), |text| fields.add("timestamp", text));
    fields.add("level", event.metadata().level().as_str());
    fields.add("target", event.metadata().target());
    event.record(&mut fields);
    request::with_current(|request| {
        for (name, value) in request.fields() {
            fields.add(name, value);
        }
    });
    fields.result?;
    fields.map.end()
}

/// Entries of a JSON object, until one fails.
struct Fields<M: SerializeMap> {
    map: M,
    result: Result<(), M::Error>,
}

impl<M: SerializeMap> Fields<M> {
    fn add(&mut self, name: &str, value: impl Serialize) {
        if self.result.is_ok() {
            // A field may be named as a keyword is, by `r#`.
            let name = name.strip_prefix("r#").unwrap_or(name);
            self.result = self.map.serialize_entry(name, &value);
        }
    }
}

impl<M: SerializeMap> Visit for Fields<M> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }
}

thread_local! {
    /// The second that was written last, and its text: a calendar costs more than the rest of a line.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// The time of this process, for log lines and spans.
#[expect(
    clippy::disallowed_methods,
    reason = "what is logged never leaves the service"
)]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}

/// A time to the microsecond (RFC 3339).
fn with_timestamp(time: DateTime<Utc>, write: impl FnOnce(&str)) {
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != time.timestamp() {
            *second = time.timestamp();
            *text = time.format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        // A leap second counts on beyond a million.
        let micros = time.timestamp_subsec_micros().min(999_999);
        let length = text.len();
        // Writing to a string cannot fail.
        let _ = write!(text, "{micros:06}Z");
        write(text);
        text.truncate(length);
    });
}

/// Text with the fields of its request at the end.
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
            let mut names = request.fields().into_iter();
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

    use super::*;
    use crate::testing::Lines;
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
            with_timestamp(DateTime::from_timestamp_nanos(nanos), |it| {
                text.push_str(it);
            });
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
        let scope = RequestScope::begin(None, || ([7; 16], [7; 8]), facts, || None);
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
