//! CSRF checks that failed.

use metrics::counter;

use super::{CSRF_REFUSALS, outcomes};

outcomes! {
    /// What a call with cookies lacks.
    CsrfRefusal {
        /// It does not come from a page of ours.
        Page "page"
        /// It has no token of its session.
        Token "token"
    }
}

/// A call with cookies that was refused.
pub fn count_csrf_refusal(reason: CsrfRefusal) {
    counter!(CSRF_REFUSALS, "reason" => reason.as_str()).increment(1);
}

pub(super) fn begin() {
    for reason in CsrfRefusal::ALL {
        counter!(CSRF_REFUSALS, "reason" => reason.as_str()).absolute(0);
    }
}
