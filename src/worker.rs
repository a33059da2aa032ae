//! Every background job and schedule, on one page.

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
use crate::partitions::{MaintainPartitions, Monthly, Table};
use crate::state::AppState;
use crate::usage::{self, BackfillRollups, PurgeUsage};

/// How long jobs that run may go on once the worker is told to stop; then they are handed back.
const GRACE: Duration = Duration::from_secs(10);

/// What handing jobs back may take on top.
const MARGIN: Duration = Duration::from_secs(2);

/// The wait before a worker that lost the database starts again.
const RESTART_AFTER: Duration = Duration::from_secs(2);

const DAILY: &str = "the hour and the minute exist";

/// A worker that knows every job. It ends with `stop`, and never by a signal of its own.
///
/// # Panics
/// Never, unless a schedule below names an hour that does not exist.
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
        .shutdown_grace_period(GRACE)
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
        .with_cron(Cron::daily_at::<PurgeExpired>(3, 17).expect(DAILY))
        .with_cron(Cron::daily_at::<PurgeKeys>(3, 37).expect(DAILY))
        .with_cron(Cron::daily_at::<ResealSecrets>(4, 37).expect(DAILY))
        .with_cron(Cron::daily_at::<PurgeUsage>(3, 57).expect(DAILY))
        .with_cron(Cron::daily_at::<MaintainPartitions>(4, 17).expect(DAILY))
        .with_cron(Cron::every_n_minutes::<BackfillRollups>(10).expect(DAILY))
        .with_cron(Cron::daily_at::<PurgeEventTotals>(4, 27).expect(DAILY))
        .with_cron(Cron::daily_at::<RemoveAddresses>(4, 47).expect(DAILY))
        .with_cron(Cron::daily_at::<PurgeDeadJobs>(4, 57).expect(DAILY))
        .add_extension(Monthly(partitioned_tables(&state)))
        .add_extension(DeadJobsRetention(config.dead_jobs_retention))
        .add_extension(state)
        .init()
        .await
}

/// The tables that are partitioned by month, and how long their partitions are kept.
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

/// Hands the jobs of a worker that died without a word to others. Otherwise they wait for hours.
fn recovery() -> WorkerRecoveryConfig {
    WorkerRecoveryConfig::default()
        .heartbeat_interval(Duration::from_secs(10))
        .sweep_interval(Duration::from_secs(15))
        .sweep_threshold(Duration::from_mins(1))
        .recovery_delay(Duration::from_secs(1))
}

/// Runs a worker until `stop`, and a new one whenever it loses the database.
pub async fn run(state: AppState, config: WorkerConfig, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let stop_this = stop.child_token();
        let ended = tokio::select! {
            ended = attempt(&state, &config, stop_this.clone()) => ended,
            () = overdue(&state.heartbeat, &stop_this) => Err("it waits for the database".to_owned()),
        };
        if let Err(error) = ended {
            tracing::warn!(error, "the worker stopped and starts again");
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

/// Resolves when a worker that was told to stop has not ended in time. One whose database is
/// silent is told so, since what it waits for may never come.
async fn overdue(heartbeat: &Heartbeat, stop: &CancellationToken) {
    tokio::select! {
        () = heartbeat.unresponsive() => stop.cancel(),
        () = stop.cancelled() => {}
    }
    tokio::time::sleep(GRACE + MARGIN).await;
}
