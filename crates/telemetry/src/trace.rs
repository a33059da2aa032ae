//! W3C Trace Context: the trace that a request belongs to, the caller's or a new one.

use axum::http::HeaderMap;
use const_hex::Buffer;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// A request's place in a trace.
#[derive(Clone)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// The caller's span.
    pub(crate) parent_id: Option<SpanId>,
    /// Digits of `trace_id`, which each request's log line has: a formatter takes many times as long.
    digits: Buffer<16>,
}

impl TraceContext {
    pub(crate) fn new(trace_id: TraceId, span_id: SpanId, parent: Option<&SpanContext>) -> Self {
        Self {
            trace_id,
            span_id,
            parent_id: parent.map(SpanContext::span_id),
            digits: Buffer::new().const_format(&trace_id.to_bytes()),
        }
    }

    /// A new span of the caller's trace, or of a new one.
    pub(crate) fn random(parent: Option<&SpanContext>, random: ([u8; 16], [u8; 8])) -> Self {
        let trace_id = parent.map_or(TraceId::from_bytes(random.0), SpanContext::trace_id);
        Self::new(trace_id, SpanId::from_bytes(random.1), parent)
    }

    pub(crate) fn trace_id(&self) -> &str {
        self.digits.as_str()
    }

    /// A number from 0 to 1 from our own span's id: a caller could choose its trace's id.
    pub(crate) fn sampling_value(&self) -> f32 {
        let [.., high, low] = self.span_id.to_bytes();
        f32::from(u16::from_be_bytes([high, low])) / (f32::from(u16::MAX) + 1.0)
    }
}

/// The `traceparent` header that makes `span_id` the parent.
pub(crate) fn traceparent(trace_id: TraceId, span_id: SpanId, is_sampled: bool) -> String {
    format!("00-{trace_id}-{span_id}-{:02x}", u8::from(is_sampled))
}

/// The caller's span, where it sent one well-formed `traceparent` header.
///
/// Not `OpenTelemetry`'s propagator, which accepts ids of any length and the first of several headers.
pub(crate) fn caller_span(headers: &HeaderMap) -> Option<SpanContext> {
    let mut all = headers.get_all("traceparent").iter();
    match (all.next(), all.next()) {
        (Some(one), None) => parse(one.to_str().ok()?),
        _ => None,
    }
}

/// Later versions of the header may add fields at the end.
fn parse(header: &str) -> Option<SpanContext> {
    let mut fields = header.split('-');
    let mut field = |length: usize| {
        let field = fields.next()?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (field.len() == length && field.bytes().all(is_hex)).then_some(field)
    };
    let (version, trace_id, parent_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let ends_well = version != "00" || fields.next().is_none();
    if version == "ff" || !ends_well {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace_id, parent_id) = (TraceId::from_hex(trace_id), SpanId::from_hex(parent_id));
    let span = SpanContext::new(
        trace_id.ok()?,
        parent_id.ok()?,
        flags,
        true,
        TraceState::NONE,
    );
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn caller(traceparent: &str) -> Option<SpanContext> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().unwrap());
        caller_span(&headers)
    }

    #[test]
    fn a_callers_trace_goes_on() {
        let parent = caller(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert!(parent.is_sampled());
        let trace = TraceContext::random(Some(&parent), ([1; 16], [2; 8]));
        assert_eq!(trace.trace_id(), TRACE);
        assert_eq!(trace.parent_id, Some(parent.span_id()));
        assert_eq!(trace.span_id, SpanId::from_bytes([2; 8]));
        let later = caller(&format!("cc-{TRACE}-00f067aa0ba902b7-00-more")).unwrap();
        assert_eq!(later.trace_id().to_string(), TRACE);
        assert!(!later.is_sampled());
    }

    #[test]
    fn what_is_handed_on_is_well_formed_and_of_the_same_trace() {
        for is_sampled in [true, false] {
            let header = traceparent(TraceId::from_hex(TRACE).unwrap(), 7.into(), is_sampled);
            let next = caller(&header).unwrap();
            assert_eq!(next.trace_id().to_string(), TRACE);
            assert_eq!(next.span_id(), 7.into());
            assert_eq!(next.is_sampled(), is_sampled);
        }
    }

    #[test]
    fn what_is_malformed_begins_a_new_trace() {
        for header in [
            "",
            "00",
            &format!("00-{TRACE}-00f067aa0ba902b7"),
            &format!("00-{TRACE}-0000000000000000-01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-00f067aa0ba902b7-zz"),
        ] {
            assert_eq!(caller(header), None, "{header}");
        }
        let trace = TraceContext::random(None, ([0xfe; 16], [2; 8]));
        assert_eq!(trace.trace_id(), "fe".repeat(16));
        assert_eq!(trace.parent_id, None);
    }
}
