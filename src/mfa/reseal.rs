//! Re-encryption of TOTP secrets after a key rotation.

use graphile_worker::{IntoTaskHandlerResult, TaskHandler, WorkerContext};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jobs::JobError;
use super::{service, store};
use crate::ids::UserId;
use crate::infra::begin;
use crate::jobs;
use crate::state::AppState;

/// Secrets of one transaction.
const BATCH: i64 = 200;

/// Re-encrypts under the first key of the ring what is encrypted under another, so that the other can be removed
/// from the ring. Runs daily.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ResealSecrets {}

impl ResealSecrets {
    async fn seal(&self, state: &AppState) -> Result<(), JobError> {
        let key = state.cipher.sealing_key();
        let (mut after, mut failed) = (UserId(Uuid::nil()), 0);
        loop {
            let mut tx = begin(&state.db).await?;
            let found = store::lock_with_other_keys(&mut *tx, key, after, BATCH).await?;
            for (owner, sealed) in &found {
                match service::reseal(state, *owner, sealed) {
                    Ok(sealed) => store::update_secret(&mut *tx, *owner, &sealed).await?,
                    Err(_) => failed += 1,
                }
            }
            tx.commit().await?;
            match found.last() {
                Some((last, _)) => after = *last,
                None if failed > 0 => return Err(JobError::Undecryptable(failed)),
                None => return Ok(()),
            }
        }
    }
}

impl TaskHandler for ResealSecrets {
    const IDENTIFIER: &'static str = "mfa.seal_anew";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.seal(jobs::extension(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}
