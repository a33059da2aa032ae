//! Writes down when keys were last used, apart from the requests that used them.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::store;
use crate::state::AppState;

/// How often what was noted is written. For each key that is at most once a minute.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// Writes what requests have noted, until `stop`.
pub async fn watch_uses(state: AppState, stop: CancellationToken) {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        write_uses(&state).await;
    }
}

/// Writes what requests have noted so far.
pub async fn write_uses(state: &AppState) {
    let uses = state.key_uses.take();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = store::update_last_used(&state.db, &uses).await {
        tracing::warn!(%error, "when keys were last used cannot be written");
        for (id, at) in uses {
            state.key_uses.record(id, at);
        }
    }
}
