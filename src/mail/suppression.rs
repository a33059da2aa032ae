//! Suppression list: addresses that emails have bounced from, or whose owner complained of them.

use chrono::{DateTime, Utc};
use job_queue::{Expired, JobError, Purges};
use sqlx::PgExecutor;

use super::model::{Category, Suppression, SuppressionReason};
use super::store;
use crate::scope;
use crate::state::AppState;

/// Adds an address to the suppression list; false if it was on it for this reason.
pub async fn suppress(
    state: &AppState,
    conn: impl PgExecutor<'_>,
    address: &str,
    reason: SuppressionReason,
) -> Result<bool, sqlx::Error> {
    let hash = state.suppression_macs.sign(&[address.as_bytes()]);
    store::insert(conn, hash, reason, state.clock.now()).await
}

/// Removes an address from the suppression list, or one reason of it; returns how many entries it had.
pub async fn unsuppress(
    state: &AppState,
    conn: impl PgExecutor<'_>,
    address: &str,
    reason: Option<SuppressionReason>,
) -> Result<u64, sqlx::Error> {
    store::delete(conn, &hashes(state, address), reason).await
}

/// Entries of an address, one for each reason.
pub async fn list_suppressions(
    state: &AppState,
    conn: impl PgExecutor<'_>,
    address: &str,
) -> Result<Vec<Suppression>, sqlx::Error> {
    store::list(conn, &hashes(state, address)).await
}

/// The reason why an email of this category is not sent to an address.
pub(super) async fn find_obstacle(
    state: &AppState,
    address: &str,
    category: Category,
) -> Result<Option<SuppressionReason>, sqlx::Error> {
    if category == Category::Security {
        return Ok(None);
    }
    let found = list_suppressions(state, &state.db, address).await?;
    let mut reasons = found.iter().map(|it| it.reason);
    Ok(reasons.find(|reason| reason.stops(category)))
}

/// Under each key of the ring, so that entries are found while the key that they were made under is listed.
fn hashes(state: &AppState, address: &str) -> Vec<Vec<u8>> {
    let parts = [address.as_bytes()];
    let hashes = state.suppression_macs.sign_by_each(&parts);
    hashes.map(Vec::from).collect()
}

job_queue::jobs! {
    /// Deletes entries of the suppression list that are past their time. Runs daily.
    PurgeSuppressions "mail.purge_suppressions" => purge;
}

/// Rows that are deleted once their time has passed, each with that time.
pub fn retained(state: &AppState) -> [(Expired, DateTime<Utc>); 1] {
    let kept = state.mail.suppression_retention;
    [(store::EXPIRED, clock::before(state.clock.now(), kept))]
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges.run_all(&retained(state)).await;
    Ok(purges.finish()?)
}
