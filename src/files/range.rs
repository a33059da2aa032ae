//! The header `Range` (RFC 9110 §14.2): one range of bytes.

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

use super::error::Error;

/// Bytes of a file, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl ByteRange {
    /// The requested range of a file that is not empty. `None` for the whole file: without a range, with several, with
    /// one that is not understood, or of another version of the file.
    pub(super) fn of(headers: &HeaderMap, size: i64, etag: &str) -> Result<Option<Self>, Error> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let is_other = headers.contains_key(IF_RANGE) && text(IF_RANGE) != Some(etag);
        match text(RANGE).filter(|_| !is_other) {
            Some(range) => Self::parse(range, size),
            None => Ok(None),
        }
    }

    fn parse(text: &str, size: i64) -> Result<Option<Self>, Error> {
        let spec = text.strip_prefix("bytes=").map(str::trim);
        let Some((first, last)) = spec.and_then(|spec| spec.split_once('-')) else {
            return Ok(None);
        };
        let end = size - 1;
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.min(end)),
            (Some(first), None) if last.is_empty() => (first, end),
            (None, Some(suffix)) if first.is_empty() => {
                (size - suffix.min(size), if suffix == 0 { -1 } else { end })
            }
            _ => return Ok(None),
        };
        if first > end || last < first {
            return Err(Error::Range(size));
        }
        Ok(Some(Self { first, last }))
    }

    /// For the request to the store.
    pub(super) fn header(self) -> String {
        format!("bytes={}-{}", self.first, self.last)
    }

    /// `Content-Range` of the response.
    pub(super) fn content_range(self, size: i64) -> String {
        format!("bytes {}-{}/{size}", self.first, self.last)
    }
}

fn number(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_a_file_is_read() {
        let parse = |text| ByteRange::parse(text, 100);
        for (text, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=10-19", 10, 19),
            ("bytes=90-500", 90, 99),
            ("bytes=90-", 90, 99),
            ("bytes=-10", 90, 99),
            ("bytes=-500", 0, 99),
        ] {
            let range = parse(text).expect("it can be satisfied");
            assert_eq!(range, Some(ByteRange { first, last }), "{text}");
        }
        for text in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [
            "",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(text).expect("it is ignored"), None, "{text}");
        }
    }
}
