//! The metrics of what people and programs show to be let in.

use metrics::counter;

use super::{API_KEYS, SIGN_IN_WAITS, SIGN_INS, TOKEN_REFRESHES, outcomes};

outcomes! {
    /// How an attempt to sign in ended.
    SignIn {
        /// A session began.
        SignedIn "signed_in"
        /// Too many attempts had failed before.
        Locked "locked"
        /// The address or the password is wrong.
        Refused "refused"
        /// The password was right, the address is not verified.
        Unverified "unverified"
        /// The password was right, but the account is shut.
        Disabled "disabled"
        /// The password was right; a second factor is asked for.
        Asked "asked"
        /// The code of the second factor was wrong, or one too many.
        WrongCode "wrong_code"
        /// The second step came too late, or without the first.
        Stale "stale"
        /// The hashing pool was busy.
        Busy "busy"
        /// Something of ours failed.
        Failed "failed"
    }
}

outcomes! {
    /// What became of a refresh token that was presented.
    TokenRefresh {
        /// It was replaced.
        Rotated "rotated"
        /// It was used before, within the grace, and answered with its successor.
        Repeated "repeated"
        /// It was used before, after the grace: its session was ended.
        Reused "reused"
        /// It is unknown or expired.
        Refused "refused"
        /// Something of ours failed.
        Failed "failed"
    }
}

outcomes! {
    /// What became of a request with an API key.
    ApiKeyUse {
        /// It was let in.
        Accepted "accepted"
        /// The key is unknown, revoked or expired, or its secret wrong.
        Refused "refused"
        /// The account is disabled.
        Disabled "disabled"
        /// The key may not do this.
        OutOfScope "out_of_scope"
    }
}

/// An attempt to sign in.
pub fn count_sign_in(outcome: SignIn) {
    counter!(SIGN_INS, "outcome" => outcome.as_str()).increment(1);
}

/// A wait that began; `by` names what its failures are counted by, of which there are four.
pub fn count_sign_in_wait(by: &'static str) {
    counter!(SIGN_IN_WAITS, "by" => by).increment(1);
}

/// A refresh token that was presented.
pub fn count_token_refresh(outcome: TokenRefresh) {
    counter!(TOKEN_REFRESHES, "outcome" => outcome.as_str()).increment(1);
}

/// A request with an API key.
pub fn count_api_key(outcome: ApiKeyUse) {
    counter!(API_KEYS, "outcome" => outcome.as_str()).increment(1);
}
