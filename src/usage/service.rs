//! Flush of the meter: a background task that writes counts in batches.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::FlushError;
use super::meter::{Meter, MeterKey, Outgoing, Sum};
use super::model::{is_charged, time_of};
use super::store;
use crate::metrics::{self, CallOutcome};
use crate::plans::Month;
use crate::state::AppState;

/// Rows of one statement.
const BATCH: usize = 2_000;

/// Includes the wait for a connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// For the last flush, at shutdown.
const LAST_FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Delay between attempts of the last flush.
const LAST_FLUSH_RETRY: Duration = Duration::from_millis(200);

const EVICTION_INTERVAL: Duration = Duration::from_mins(10);

/// Flushes at each interval until `stop`, and once more then.
pub async fn run(state: AppState, stop: CancellationToken) {
    let mut ticks = interval(state.usage.flush_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut evicted_at = Instant::now();
    let work = async {
        loop {
            ticks.tick().await;
            if let Err(error) = flush(&state).await {
                tracing::warn!(%error, "cannot write usage counts, trying again");
            }
            if evicted_at.elapsed() > EVICTION_INTERVAL {
                evicted_at = Instant::now();
                state
                    .meter
                    .evict_idle(Month::of(state.clock.now()).number());
            }
        }
    };
    // A batch that is interrupted is sent again under its number.
    stop.run_until_cancelled(work).await;
    let last = async {
        while let Err(error) = flush(&state).await {
            tracing::warn!(%error, "cannot write the last usage counts, trying again");
            sleep(LAST_FLUSH_RETRY).await;
        }
    };
    if timeout(LAST_FLUSH_TIMEOUT, last).await.is_err() {
        tracing::error!("the last usage counts are lost");
    }
}

/// Writes everything that was counted before the call. After an error the rest is kept for the next call.
pub async fn flush(state: &AppState) -> Result<(), FlushError> {
    let mut outgoing = state.meter.outgoing().await;
    // First the rest of an earlier flush, if there is any.
    let rounds = if outgoing.is_empty() { 1 } else { 2 };
    let mut result = Ok(());
    for _ in 0..rounds {
        outgoing.refill(&state.meter);
        result = write_all(state, &mut outgoing).await;
        if result.is_err() {
            break;
        }
    }
    metrics::set_waiting_usage(state.meter.waiting() + outgoing.len());
    result
}

async fn write_all(state: &AppState, outgoing: &mut Outgoing) -> Result<(), FlushError> {
    let names = state.meter.names();
    while !outgoing.is_empty() {
        let began = Instant::now();
        let rows = outgoing.rows(BATCH);
        let writing = store::write(&state.db, outgoing, rows, &names, state.clock.now());
        let written = match timeout(WRITE_TIMEOUT, writing).await {
            Ok(written) => written.map_err(FlushError::from),
            Err(_) => Err(FlushError::Timeout),
        };
        let outcome = written
            .as_ref()
            .err()
            .map_or(CallOutcome::Ok, FlushError::outcome);
        metrics::observe_usage_flush(began, outcome);
        settle(&state.meter, rows, &written?);
        outgoing.done(BATCH);
    }
    Ok(())
}

/// Updates the meter after a write. `totals` is empty for a batch that had been written before.
fn settle(meter: &Meter, rows: &[(MeterKey, Sum)], totals: &HashMap<(Uuid, Month), u64>) {
    let mut sent: HashMap<(Uuid, Month), u64> = HashMap::new();
    for (key, sum) in rows.iter().filter(|row| is_charged(row.0.status)) {
        let month = Month::of(time_of(key.minute));
        *sent.entry((key.account, month)).or_default() += sum.requests;
    }
    for ((account, month), sent) in sent {
        let total = totals.get(&(account, month)).copied();
        meter.settle(account, month.number(), sent, total);
    }
}
