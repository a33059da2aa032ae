//! Writes the time of last use of keys in batches, outside of requests.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::store;
use crate::state::AppState;

const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Runs until `stop`.
pub async fn watch_uses(state: AppState, stop: CancellationToken) {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        write_uses(&state).await;
    }
}

pub async fn write_uses(state: &AppState) {
    let uses = state.key_uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = store::update_last_used(&state.db, &uses).await {
        tracing::warn!(%error, "last use of API keys cannot be written");
        for (id, at) in uses {
            state.key_uses.record(id, at);
        }
    }
}
