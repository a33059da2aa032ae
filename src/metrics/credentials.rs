//! Sign-ins, tokens, API keys and CSRF checks.

use metrics::counter;

use super::{API_KEYS, CSRF_REFUSALS, SIGN_IN_WAITS, SIGN_INS, TOKEN_REFRESHES, outcomes, zero};

outcomes! {
    /// How an attempt to sign in ended.
    SignIn {
        SignedIn "signed_in"
        /// After too many failed attempts.
        Locked "locked"
        /// Wrong address or password.
        Refused "refused"
        /// Right password, unverified address.
        Unverified "unverified"
        /// Right password, disabled account.
        Disabled "disabled"
        /// Right password; a second factor is required.
        Asked "asked"
        /// Wrong code of the second factor, or too many.
        WrongCode "wrong_code"
        /// Second step without the first, or too late.
        Stale "stale"
        /// Hashing pool full.
        Busy "busy"
        /// Server error.
        Failed "failed"
    }
}

outcomes! {
    /// How the use of a refresh token ended.
    TokenRefresh {
        Rotated "rotated"
        /// Reused within the grace; the response has its successor.
        Repeated "repeated"
        /// Reused after the grace; the session is ended.
        Reused "reused"
        /// Unknown or expired.
        Refused "refused"
        /// Server error.
        Failed "failed"
    }
}

outcomes! {
    /// How the authentication of an API key ended.
    ApiKeyUse {
        Accepted "accepted"
        /// Unknown, revoked or expired key, or wrong secret.
        Refused "refused"
        /// Disabled account.
        Disabled "disabled"
        OutOfScope "out_of_scope"
    }
}

pub fn count_sign_in(outcome: SignIn) {
    counter!(SIGN_INS, "outcome" => outcome.as_str()).increment(1);
}

/// Counts a lockout; `by` is what the failures were counted by, one of four names.
pub fn count_sign_in_wait(by: &'static str) {
    counter!(SIGN_IN_WAITS, "by" => by).increment(1);
}

pub fn count_token_refresh(outcome: TokenRefresh) {
    counter!(TOKEN_REFRESHES, "outcome" => outcome.as_str()).increment(1);
}

pub fn count_api_key(outcome: ApiKeyUse) {
    counter!(API_KEYS, "outcome" => outcome.as_str()).increment(1);
}

outcomes! {
    /// What a request with cookies lacks.
    CsrfRefusal {
        /// An allowed origin.
        Page "page"
        /// The CSRF token of its session.
        Token "token"
    }
}

pub fn count_csrf_refusal(reason: CsrfRefusal) {
    counter!(CSRF_REFUSALS, "reason" => reason.as_str()).increment(1);
}

/// Series that begin at zero.
pub(super) fn begin() {
    zero(SIGN_INS, "outcome", SignIn::ALL, SignIn::as_str);
    zero(API_KEYS, "outcome", ApiKeyUse::ALL, ApiKeyUse::as_str);
    zero(
        TOKEN_REFRESHES,
        "outcome",
        TokenRefresh::ALL,
        TokenRefresh::as_str,
    );
    zero(
        CSRF_REFUSALS,
        "reason",
        CsrfRefusal::ALL,
        CsrfRefusal::as_str,
    );
    for by in ["client", "account", "known", "reauthentication"] {
        counter!(SIGN_IN_WAITS, "by" => by).absolute(0);
    }
}
