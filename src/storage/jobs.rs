//! The daily copy, and the gauge of its age.

use super::copy::copy;
use super::error::Error;
use super::marker::Marker;
use crate::metrics;
use crate::state::AppState;

job_queue::jobs! {
    /// Runs daily. Repeated, it copies what is left.
    CopyObjects "storage.copy" => copy_all;
}

async fn copy_all(state: &AppState) -> Result<(), Error> {
    if state.storage_copy.is_none() {
        return Ok(());
    }
    // The queue gives a job that runs for hours to another process as well. That one fails and is tried again, so that the copy is
    // repeated if the first one fails.
    let report = copy(state, false).await?;
    tracing::info!(?report, "the object store is copied");
    Ok(())
}

/// Sets the gauge of the last complete copy. While the copy does not respond it keeps its value.
pub async fn sample(state: &AppState) {
    if let Some(copy) = &state.storage_copy
        && let Ok(marker) = Marker::find(&copy.store).await
    {
        metrics::set_copy_time(marker.and_then(|marker| marker.complete_at));
    }
}
