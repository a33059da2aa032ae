//! Flush of the meter: a background task that writes counts in batches.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clock::Month;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use usage_meter::{Batch, Meter, MeterKey, Sum, time_of};
use uuid::Uuid;

use super::error::FlushError;
use super::model::is_charged;
use super::store;
use crate::metrics::{self, CallOutcome};
use crate::state::AppState;

/// Rows of one statement.
const BATCH: usize = 2_000;

/// Includes the wait for a connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Flushes at each interval until `stop`, and once more then.
pub async fn run(state: AppState, stop: CancellationToken) {
    let month = || Month::of(state.clock.now()).number();
    let meter = &state.meter;
    meter
        .run(state.usage.flush_interval, stop, month, || flush(&state))
        .await;
}

/// Writes everything that was counted before the call. After an error the rest is kept for the next call.
pub async fn flush(state: &AppState) -> Result<(), FlushError> {
    let flushed = state.meter.flush(BATCH, |batch| write(state, batch)).await;
    metrics::set_waiting_usage(state.meter.waiting());
    flushed
}

async fn write(state: &AppState, batch: Batch) -> Result<(), FlushError> {
    let began = Instant::now();
    let names = state.meter.names();
    let writing = store::write(&state.db, &batch, &names, state.clock.now());
    let written = match timeout(WRITE_TIMEOUT, writing).await {
        Ok(written) => written.map_err(FlushError::from),
        Err(_) => Err(FlushError::Timeout),
    };
    let error = written.as_ref().err();
    let outcome = error.map_or(CallOutcome::Ok, FlushError::outcome);
    metrics::observe_usage_flush(began, outcome);
    settle(&state.meter, &batch.rows, &written?);
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
