//! Encryption of TOTP secrets at rest.

use crypto::{AssociatedData, OpenError, Sealed};
use uuid::Uuid;

use crate::ids::UserId;
use crate::state::AppState;

/// Re-encrypts under the first key of the ring.
pub(super) fn reseal(
    state: &AppState,
    owner: UserId,
    sealed: &Sealed,
) -> Result<Sealed, OpenError> {
    let row = [owner.0];
    let opened = state.cipher.open(&associated_data(&row), sealed)?;
    Ok(state.cipher.seal(&associated_data(&row), opened.expose()))
}

pub(super) fn associated_data(owner: &[Uuid]) -> AssociatedData<'_> {
    AssociatedData {
        table: "mfa_factors",
        column: "secret",
        row: owner,
    }
}
