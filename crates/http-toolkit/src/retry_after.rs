//! Spreads the clients of an outage: those that were refused in the same second do not come back in the same second.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

/// Adds up to one more than as many seconds to `Retry-After` of a 503, by the request id. That of a 429 stays: it is when the limit
/// allows again.
pub(super) fn spread(status: StatusCode, headers: &mut HeaderMap, request_id: &HeaderValue) {
    if status != StatusCode::SERVICE_UNAVAILABLE {
        return;
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
    let Some(seconds) = seconds.and_then(|it| it.parse::<u64>().ok()) else {
        return;
    };
    // FNV-1a: ids of the same millisecond differ in their last characters alone.
    let hash = request_id
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let more = (hash >> 32) % (seconds.saturating_add(2));
    headers.insert(RETRY_AFTER, seconds.saturating_add(more).into());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn clients_of_an_outage_are_spread_over_the_seconds_after_it() {
        let mut counts = BTreeMap::new();
        for number in 0..3_000_u32 {
            let id = format!("019ac1f2a8e17c3f9a1b0000{number:08x}").parse();
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("1"))]);
            spread(
                StatusCode::SERVICE_UNAVAILABLE,
                &mut headers,
                &id.expect("it is an id"),
            );
            *counts
                .entry(
                    headers[RETRY_AFTER]
                        .clone()
                        .to_str()
                        .expect("it is text")
                        .to_owned(),
                )
                .or_insert(0) += 1;
        }
        let seconds: Vec<_> = counts.keys().map(String::as_str).collect();
        assert_eq!(seconds, ["1", "2", "3"]);
        assert!(
            counts.values().all(|count| (800..=1_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn other_replies_stay() {
        let id = HeaderValue::from_static("some-id");
        let mut limited = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("40"))]);
        spread(StatusCode::TOO_MANY_REQUESTS, &mut limited, &id);
        assert_eq!(limited[RETRY_AFTER], "40");
        let mut none = HeaderMap::new();
        spread(StatusCode::SERVICE_UNAVAILABLE, &mut none, &id);
        assert!(none.is_empty());
    }
}
