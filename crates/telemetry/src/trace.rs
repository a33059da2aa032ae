//! Which trace a request belongs to (W3C Trace Context): the caller's, or a new one.

use std::fmt;

use axum::http::HeaderMap;

/// A request's place in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: Hex<32>,
    /// Our own part of the trace.
    pub(crate) span_id: Hex<16>,
    /// The caller's part.
    pub(crate) parent_id: Option<Hex<16>>,
    /// Whether the caller keeps this trace; `None` where there was no caller to say.
    pub(crate) sampled: Option<bool>,
}

impl TraceContext {
    /// Continues the trace of a trusted caller whose `traceparent` header is well-formed, or begins
    /// a new one.
    pub(crate) fn of(caller: Option<&HeaderMap>, drawn: [u8; 24]) -> Self {
        let parent = caller.and_then(|headers| {
            let mut all = headers.get_all("traceparent").iter();
            match (all.next(), all.next()) {
                (Some(one), None) => one.to_str().ok().and_then(parse),
                _ => None,
            }
        });
        let (trace, span) = drawn.split_at(16);
        let span_id = Hex::of(span);
        match parent {
            Some((trace_id, parent_id, sampled)) => Self {
                trace_id,
                span_id,
                parent_id: Some(parent_id),
                sampled: Some(sampled),
            },
            None => Self {
                trace_id: Hex::of(trace),
                span_id,
                parent_id: None,
                sampled: None,
            },
        }
    }

    /// The header that hands the trace on, with our part of it as the parent.
    pub(crate) fn header(&self, is_kept: bool) -> String {
        let flags = u8::from(is_kept);
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }

    /// A number from 0 to 1, of our own drawing: a caller could choose its trace's id.
    pub(crate) fn lot(&self) -> f32 {
        let drawn = u16::from_str_radix(&self.span_id.as_str()[12..], 16).unwrap_or_default();
        f32::from(drawn) / (f32::from(u16::MAX) + 1.0)
    }
}

/// Trace, parent and whether the caller keeps it; versions to come may add fields at the end.
fn parse(header: &str) -> Option<(Hex<32>, Hex<16>, bool)> {
    let mut fields = header.split('-');
    let mut field = |length: usize| {
        let field = fields.next()?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (field.len() == length && field.bytes().all(is_hex)).then_some(field)
    };
    let (version, trace_id, parent_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let is_zero = |id: &str| id.bytes().all(|b| b == b'0');
    let ends_well = version != "00" || fields.next().is_none();
    if version == "ff" || is_zero(trace_id) || is_zero(parent_id) || !ends_well {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some((Hex::read(trace_id)?, Hex::read(parent_id)?, sampled))
}

/// An id of so many hexadecimal digits, in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex<const DIGITS: usize>([u8; DIGITS]);

impl<const DIGITS: usize> Hex<DIGITS> {
    /// The digits of these bytes. Each request has two ids, and a formatter takes many times as long.
    fn of(bytes: &[u8]) -> Self {
        const TABLE: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| TABLE[usize::from(half & 15)];
        let mut hex = [b'0'; DIGITS];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(*byte)]);
        }
        Self(hex)
    }

    /// Digits that were looked at.
    fn read(digits: &str) -> Option<Self> {
        digits.as_bytes().try_into().ok().map(Self)
    }

    /// The digits.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<const DIGITS: usize> fmt::Display for Hex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const DIGITS: usize> fmt::Debug for Hex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(traceparent: &str) -> TraceContext {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent.parse().unwrap());
        TraceContext::of(Some(&headers), *b"twenty-four random bytes")
    }

    #[test]
    fn a_callers_trace_goes_on() {
        let trace = of(&format!("00-{TRACE}-00f067aa0ba902b7-01"));
        assert_eq!(trace.trace_id.as_str(), TRACE);
        assert_eq!(trace.parent_id, Hex::read("00f067aa0ba902b7"));
        assert_eq!(trace.sampled, Some(true));
        assert_ne!(trace.span_id.as_str(), "00f067aa0ba902b7");
        let later = of(&format!("cc-{TRACE}-00f067aa0ba902b7-00-more"));
        assert_eq!(
            (later.trace_id.as_str(), later.sampled),
            (TRACE, Some(false))
        );
    }

    #[test]
    fn what_is_handed_on_is_well_formed_and_of_the_same_trace() {
        let ours = of(&format!("00-{TRACE}-00f067aa0ba902b7-01"));
        for is_kept in [true, false] {
            let next = of(&ours.header(is_kept));
            assert_eq!(next.trace_id.as_str(), TRACE);
            assert_eq!(next.parent_id, Some(ours.span_id));
            assert_eq!(next.sampled, Some(is_kept));
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
            let trace = of(header);
            assert_ne!(trace.trace_id.as_str(), TRACE, "{header}");
            for drawn in [trace.trace_id.as_str(), trace.span_id.as_str()] {
                assert!(
                    drawn
                        .bytes()
                        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                );
                assert!(drawn.bytes().any(|b| b != b'0'));
            }
            assert_eq!((trace.parent_id, trace.sampled), (None, None));
        }
    }
}
