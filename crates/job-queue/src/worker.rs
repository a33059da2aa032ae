//! The worker: options, and a loop that restarts it.

use std::time::Duration;

use database::{Db, Heartbeat};
use graphile_worker::{Worker, WorkerBuildError, WorkerOptions, WorkerRecoveryConfig};
use tokio_util::sync::CancellationToken;

use crate::SCHEMA;

settings::settings! {
    /// The job worker.
    pub struct WorkerConfig {}
    "Background jobs", WorkerSettings {
        /// Jobs at once.
        WORKER_CONCURRENCY => concurrency: usize = 4, within(1..=64);
        /// How often the queue is polled when no notification arrives.
        WORKER_POLL_INTERVAL => poll_interval: Duration = "2s", at_most("1h");
        /// For one statement of a job that works in batches, such as the purges.
        WORKER_STATEMENT_TIMEOUT => statement_timeout: Duration = "5m", at_most("1d");
        /// How long jobs are kept that failed at their last attempt.
        DEAD_JOBS_RETENTION => dead_jobs_retention: Duration = "30d", within("1d"..="3650d");
    }
}

/// Shutdown timeout of running jobs; then they are returned to the queue.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Additional time for returning jobs to the queue.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// Delay before the worker restarts after it lost the database.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// Options of a worker that ends with `stop` and installs no signal handlers.
#[must_use]
pub fn options(db: &Db, config: &WorkerConfig, stop: CancellationToken) -> WorkerOptions {
    WorkerOptions::default()
        .schema(SCHEMA)
        .database(crate::listener::driver(db))
        .concurrency(config.concurrency)
        .poll_interval(config.poll_interval)
        .listen_os_shutdown_signals(false)
        .shutdown_signal(stop.cancelled_owned())
        .shutdown_grace_period(SHUTDOWN_TIMEOUT)
        .worker_recovery(recovery())
}

/// Returns the jobs of a killed worker to the queue within a minute; the library takes hours by default.
fn recovery() -> WorkerRecoveryConfig {
    WorkerRecoveryConfig::default()
        .heartbeat_interval(Duration::from_secs(10))
        .sweep_interval(Duration::from_secs(15))
        .sweep_threshold(Duration::from_mins(1))
        .recovery_delay(Duration::from_secs(1))
}

/// Runs a worker until `stop`, and restarts it when it loses the database.
pub async fn run<F>(
    heartbeat: Heartbeat,
    stop: CancellationToken,
    build: impl Fn(CancellationToken) -> F,
) where
    F: Future<Output = Result<Worker, WorkerBuildError>>,
{
    while !stop.is_cancelled() {
        let stop_this = stop.child_token();
        let ended = tokio::select! {
            ended = attempt(build(stop_this.clone())) => ended,
            () = overdue(&heartbeat, &stop_this) => Err("PostgreSQL does not respond".to_owned()),
        };
        if let Err(error) = ended {
            tracing::warn!(error, "the worker stopped and is restarted");
            stop.run_until_cancelled(tokio::time::sleep(RESTART_AFTER))
                .await;
        }
    }
}

async fn attempt(
    worker: impl Future<Output = Result<Worker, WorkerBuildError>>,
) -> Result<(), String> {
    let worker = worker.await.map_err(|error| error.to_string())?;
    worker.run().await.map_err(|error| error.to_string())
}

/// Resolves when a stopping worker has not ended in time. It is stopped when the database is unresponsive,
/// since a statement in progress may never return.
async fn overdue(heartbeat: &Heartbeat, stop: &CancellationToken) {
    tokio::select! {
        () = heartbeat.unresponsive() => stop.cancel(),
        () = stop.cancelled() => {}
    }
    tokio::time::sleep(SHUTDOWN_TIMEOUT + SHUTDOWN_MARGIN).await;
}
