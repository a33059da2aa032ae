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

/// How many secrets are sealed anew in one transaction.
const BATCH: i64 = 200;

/// Seals under the first key of the ring what is still sealed under another, so that the other can
/// be done without. Runs daily.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct SealAnew {}

impl SealAnew {
    async fn seal(&self, state: &AppState) -> Result<(), JobError> {
        let key = state.cipher.sealing_key();
        let (mut after, mut closed) = (UserId(Uuid::nil()), 0);
        loop {
            let mut tx = begin(&state.db).await?;
            let found = store::lock_sealed_otherwise(&mut *tx, key, after, BATCH).await?;
            for (owner, sealed) in &found {
                match service::seal_anew(state, *owner, sealed) {
                    Ok(sealed) => store::update_secret(&mut *tx, *owner, &sealed).await?,
                    Err(_) => closed += 1,
                }
            }
            tx.commit().await?;
            match found.last() {
                Some((last, _)) => after = *last,
                None if closed > 0 => return Err(JobError::Closed(closed)),
                None => return Ok(()),
            }
        }
    }
}

impl TaskHandler for SealAnew {
    const IDENTIFIER: &'static str = "mfa.seal_anew";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        let result = async { self.seal(jobs::extension(&ctx)?).await }.await;
        jobs::report(&ctx, result)
    }
}
