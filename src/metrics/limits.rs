//! Rejected requests.

use metrics::{counter, gauge};

use super::{HTTP_MAX_REQUESTS, REQUESTS_REFUSED, whole};

/// Zeros where a first event would go unseen.
pub(super) fn begin() {
    for by in [
        "guard",
        "load",
        "network",
        "reports",
        "user_agent",
        "country",
    ] {
        counter!(REQUESTS_REFUSED, "by" => by).absolute(0);
    }
}

/// A refused request: `by` is the name of a limit, of the guard, the cap, a bound of one client or a
/// deny-list.
pub fn count_refused(by: &'static str) {
    counter!(REQUESTS_REFUSED, "by" => by).increment(1);
}

/// The cap on requests that are answered at once.
pub fn set_max_requests(max: usize) {
    gauge!(HTTP_MAX_REQUESTS).set(whole(max));
}
