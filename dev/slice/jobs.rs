//! The purge of sample items of deleted organisations.

use job_queue::Purges;

use super::store;
use crate::mail::JobError;
use crate::scope;
use crate::state::AppState;

job_queue::jobs! {
    /// Runs daily.
    PurgeSampleItems "sample_items.purge" => purge;
}

async fn purge(state: &AppState) -> Result<(), JobError> {
    let before = state.clock.now() - state.organisations.deletion_grace;
    let mut purges = Purges::new(&state.db, scope::begin_job(state.job_statement_timeout));
    purges
        .run("sample items of deleted organisations", |conn, most| {
            Box::pin(store::delete_of_deleted(conn, before, most))
        })
        .await;
    Ok(purges.finish()?)
}
