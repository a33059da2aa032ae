//! Writing what was counted: in batches, from one task of the process.

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

/// How long one statement may take, the wait for a connection included.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// How long the process goes on trying to write when it ends.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// The wait before the last counts are tried again.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// How often accounts are forgotten that do nothing.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// Writes what was counted until `stop`, and then what is left.
pub async fn run(state: AppState, stop: CancellationToken) {
    let mut ticks = interval(state.usage.flush_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tidied = Instant::now();
    let work = async {
        loop {
            ticks.tick().await;
            if let Err(error) = flush(&state).await {
                tracing::warn!(%error, "counts of requests cannot be written and are kept");
            }
            if tidied.elapsed() > TIDY_EVERY {
                tidied = Instant::now();
                state.meter.tidy(Month::of(state.clock.now()).number());
            }
        }
    };
    // Interrupted, a batch is sent again under its number.
    stop.run_until_cancelled(work).await;
    let last = async {
        while let Err(error) = flush(&state).await {
            tracing::warn!(%error, "the last counts of requests cannot be written yet");
            sleep(TRY_AGAIN).await;
        }
    };
    if timeout(LAST_WITHIN, last).await.is_err() {
        tracing::error!("the last counts of requests are lost");
    }
}

/// Writes everything that was counted before. What cannot be written is kept for the next time.
pub async fn flush(state: &AppState) -> Result<(), FlushError> {
    let mut outgoing = state.meter.outgoing().await;
    let turns = if outgoing.is_empty() { 1 } else { 2 };
    let mut result = Ok(());
    for _ in 0..turns {
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
        let written = match timeout(WRITE_WITHIN, writing).await {
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

/// Tells the meter what is written, and what that makes. Of a batch that was known to the database
/// already nothing is told: then it is added up here.
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
