//! Every background job and its schedule.

use std::time::Duration;

use graphile_worker::{Cron, Worker, WorkerBuildError, WorkerOptions, WorkerRecoveryConfig};
use tokio_util::sync::CancellationToken;

use crate::api_keys::{NotifyKeyCreated, NotifyKeyRotated, PurgeKeys};
use crate::audit::{self, RemoveAddresses};
use crate::auth::{
    ConfirmNewEmail, NotifyEmailChanging, NotifyNewAdmin, NotifyPasswordChanged, PurgeExpired,
    SendAlreadyRegistered, SendEmailUndo, SendReset, SendUnlock, SendVerification,
};
use crate::config::WorkerConfig;
use crate::events::{self, PurgeEventTotals};
use crate::infra::db::Heartbeat;
use crate::jobs::{DeadJobsRetention, PurgeDeadJobs};
use crate::mfa::{NotifySecondFactor, ResealSecrets};
use crate::migrate::QUEUE_SCHEMA;
use crate::partitions::{MaintainPartitions, PartitionedTables, Table};
use crate::state::AppState;
use crate::usage::{self, BackfillRollups, PurgeUsage};

/// Shutdown timeout of running jobs; then they are returned to the queue.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Additional time for returning jobs to the queue.
const SHUTDOWN_MARGIN: Duration = Duration::from_secs(2);

/// Delay before the worker restarts after it lost the database.
const RESTART_AFTER: Duration = Duration::from_secs(2);

const VALID_TIME: &str = "the time of day is valid";

/// Worker with all jobs. It ends with `stop` and installs no signal handlers.
///
/// # Panics
/// If a schedule below has an invalid time of day.
pub async fn worker(
    state: AppState,
    config: &WorkerConfig,
    stop: CancellationToken,
) -> Result<Worker, WorkerBuildError> {
    WorkerOptions::default()
        .schema(QUEUE_SCHEMA)
        .pg_pool(state.db.pool().clone())
        .concurrency(config.concurrency)
        .poll_interval(config.poll_interval)
        .listen_os_shutdown_signals(false)
        .shutdown_signal(stop.cancelled_owned())
        .shutdown_grace_period(SHUTDOWN_TIMEOUT)
        .worker_recovery(recovery())
        .define_job::<SendVerification>()
        .define_job::<SendAlreadyRegistered>()
        .define_job::<SendReset>()
        .define_job::<SendUnlock>()
        .define_job::<NotifyPasswordChanged>()
        .define_job::<ConfirmNewEmail>()
        .define_job::<NotifyEmailChanging>()
        .define_job::<SendEmailUndo>()
        .define_job::<NotifyNewAdmin>()
        .define_job::<NotifySecondFactor>()
        .define_job::<ResealSecrets>()
        .define_job::<PurgeExpired>()
        .define_job::<NotifyKeyCreated>()
        .define_job::<NotifyKeyRotated>()
        .define_job::<PurgeKeys>()
        .define_job::<PurgeUsage>()
        .define_job::<MaintainPartitions>()
        .define_job::<BackfillRollups>()
        .define_job::<PurgeEventTotals>()
        .define_job::<RemoveAddresses>()
        .define_job::<PurgeDeadJobs>()
        .with_cron(Cron::daily_at::<PurgeExpired>(3, 17).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeKeys>(3, 37).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<ResealSecrets>(4, 37).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeUsage>(3, 57).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<MaintainPartitions>(4, 17).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<BackfillRollups>(10).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeEventTotals>(4, 27).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<RemoveAddresses>(4, 47).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeDeadJobs>(4, 57).expect(VALID_TIME))
        .add_extension(PartitionedTables(partitioned_tables(&state)))
        .add_extension(DeadJobsRetention(config.dead_jobs_retention))
        .add_extension(state)
        .init()
        .await
}

/// Tables partitioned by month, with their retention.
#[must_use]
pub fn partitioned_tables(state: &AppState) -> Vec<Table> {
    let table = |name, retention| Table { name, retention };
    vec![
        table(audit::TABLE, state.audit.retention),
        table(usage::TABLE, Some(state.usage.retention)),
        table(usage::HOURLY_TABLE, Some(state.usage.retention)),
        table(usage::DAILY_TABLE, Some(state.usage.retention)),
        table(events::TABLE, Some(state.usage.events_retention)),
    ]
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
pub async fn run(state: AppState, config: WorkerConfig, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let stop_this = stop.child_token();
        let ended = tokio::select! {
            ended = attempt(&state, &config, stop_this.clone()) => ended,
            () = overdue(&state.heartbeat, &stop_this) => Err("PostgreSQL does not respond".to_owned()),
        };
        if let Err(error) = ended {
            tracing::warn!(error, "the worker stopped and is restarted");
            tokio::select! {
                () = tokio::time::sleep(RESTART_AFTER) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn attempt(
    state: &AppState,
    config: &WorkerConfig,
    stop: CancellationToken,
) -> Result<(), String> {
    let worker = worker(state.clone(), config, stop).await;
    let worker = worker.map_err(|error| error.to_string())?;
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
