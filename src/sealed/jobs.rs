//! Daily re-encryption after a key rotation.

use super::error::ResealError;
use super::service;
use crate::state::AppState;

job_queue::jobs! {
    /// Re-encrypts every sealed column under the first key of the ring, so that the others can be dropped. Runs daily.
    ResealColumns "mfa.seal_anew" => reseal;
}

async fn reseal(state: &AppState) -> Result<(), ResealError> {
    service::reseal(state, |_| {}).await
}
