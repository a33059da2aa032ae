//! Counts of attempts of an account that is erased.

use email_transport::{EmailAddress, mailbox_of};
use rate_limit::Key;

use super::lockout::{account_counter, reauthentication_counter};
use crate::ids::UserId;
use crate::state::AppState;

/// Removes what is counted by a user and by their address. Counts by an address together with a network, or with the
/// kind of an email, are keyed hashes, which expire within two days.
pub async fn clear_counts(state: &AppState, user_id: UserId, email: &EmailAddress) {
    let counters = [
        account_counter(state, email),
        reauthentication_counter(state, user_id),
    ];
    state.limiter.clear_counters(&counters).await;
    let (limits, limiter) = (&state.limits, &state.limiter);
    let user = Key::user(user_id.0);
    let address = limiter.hashed_key(email.as_str());
    let mailbox = limiter.hashed_key(&mailbox_of(email.as_str()));
    limiter
        .reset(&[
            (limits.reauthentication, user),
            (limits.email_change, user),
            (limits.upload, user),
            (limits.reset_address, address),
            (limits.resend_address, address),
            (limits.email_address, mailbox),
        ])
        .await;
}
