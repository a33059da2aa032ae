//! Every background job and its schedule.

use graphile_worker::{Cron, Worker, WorkerBuildError};
use job_queue::{DeadJobsRetention, PurgeDeadJobs, WorkerConfig};
use tokio_util::sync::CancellationToken;

use crate::api_keys::{NotifyKeyCreated, NotifyKeyRotated, PurgeKeys};
use crate::audit::{self, RemoveAddresses};
use crate::auth::{
    ConfirmNewEmail, NotifyEmailChanging, NotifyNewAdmin, NotifyPasswordChanged, PurgeExpired,
    SendAlreadyRegistered, SendEmailUndo, SendReset, SendUnlock, SendVerification,
};
use crate::billing::{
    CompareUsage, EndDuplicate, FollowAccounts, NotifyBilling, PurgeBilling, ReconcileStale,
    SendUsage, SyncCustomer, SyncEvent,
};
use crate::events::{self, PurgeEventTotals};
use crate::files::{
    NotifyInfected, ScanFile, ScanWaiting, SweepFiles, VERIFY_DAILY_AT, VerifyFiles,
};
use crate::idempotency::PurgeIdempotencyKeys;
use crate::mail::PurgeSuppressions;
use crate::mfa::NotifySecondFactor;
use crate::organisations::{CheckSeats, NotifyMember, PurgeOrganisations, SendInvitation};
use crate::partitions::{MaintainPartitions, PartitionedTables, Table};
use crate::payments::SettlePayments;
use crate::privacy::{
    EraseDue, MakeExport, NotifyDeletion, NotifyExport, PurgeBooks, PurgeExports, PurgeRequests,
};
use crate::sealed::ResealColumns;
use crate::secrets::{NotifySecretRevealed, PurgeSecrets};
use crate::state::AppState;
use crate::storage::CopyObjects;
use crate::usage::{self, BackfillRollups, CompactUsage, PurgeUsage};
use crate::usage_summary::{PurgeSummaries, ScheduleNewSummaries, ScheduleSummaries, SendSummary};

const VALID_TIME: &str = "the time of day is valid";

/// Worker with all jobs, which ends with `stop`.
///
/// # Panics
/// If a schedule below has an invalid time of day.
pub async fn worker(
    state: AppState,
    config: &WorkerConfig,
    stop: CancellationToken,
) -> Result<Worker, WorkerBuildError> {
    let (verify_hour, verify_minute) = VERIFY_DAILY_AT;
    job_queue::options(&state.db, config, stop)
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
        .define_job::<ResealColumns>()
        .define_job::<PurgeExpired>()
        .define_job::<NotifyKeyCreated>()
        .define_job::<NotifyKeyRotated>()
        .define_job::<PurgeKeys>()
        .define_job::<PurgeUsage>()
        .define_job::<MaintainPartitions>()
        .define_job::<BackfillRollups>()
        .define_job::<CompactUsage>()
        .define_job::<PurgeEventTotals>()
        .define_job::<RemoveAddresses>()
        .define_job::<SendInvitation>()
        .define_job::<NotifyMember>()
        .define_job::<PurgeOrganisations>()
        .define_job::<CheckSeats>()
        .define_job::<PurgeIdempotencyKeys>()
        .define_job::<SyncCustomer>()
        .define_job::<SyncEvent>()
        .define_job::<EndDuplicate>()
        .define_job::<NotifyBilling>()
        .define_job::<FollowAccounts>()
        .define_job::<ReconcileStale>()
        .define_job::<SendUsage>()
        .define_job::<CompareUsage>()
        .define_job::<PurgeBilling>()
        .define_job::<SettlePayments>()
        .define_job::<NotifySecretRevealed>()
        .define_job::<PurgeSecrets>()
        .define_job::<SweepFiles>()
        .define_job::<VerifyFiles>()
        .define_job::<CopyObjects>()
        .define_job::<ScanFile>()
        .define_job::<ScanWaiting>()
        .define_job::<NotifyInfected>()
        .define_job::<MakeExport>()
        .define_job::<NotifyExport>()
        .define_job::<PurgeExports>()
        .define_job::<PurgeRequests>()
        .define_job::<EraseDue>()
        .define_job::<NotifyDeletion>()
        .define_job::<PurgeBooks>()
        .define_job::<ScheduleSummaries>()
        .define_job::<ScheduleNewSummaries>()
        .define_job::<SendSummary>()
        .define_job::<PurgeSummaries>()
        .define_job::<PurgeSuppressions>()
        .define_job::<PurgeDeadJobs>()
        .with_cron(Cron::daily_at::<PurgeExpired>(3, 17).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeKeys>(3, 37).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<ResealColumns>(4, 37).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeUsage>(3, 57).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<MaintainPartitions>(4, 17).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<BackfillRollups>(10).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<CompactUsage>(30).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeEventTotals>(4, 27).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<RemoveAddresses>(4, 47).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeOrganisations>(5, 7).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<CheckSeats>(5, 27).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeIdempotencyKeys>(5, 17).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<FollowAccounts>(1).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<ReconcileStale>(30).expect(VALID_TIME))
        .with_cron(Cron::hourly_at::<SendUsage>(5).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<CompareUsage>(6, 7).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeBilling>(5, 37).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<SettlePayments>(5, 47).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeSecrets>(5, 57).expect(VALID_TIME))
        .with_cron(Cron::hourly_at::<SweepFiles>(35).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<CopyObjects>(1, 17).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<VerifyFiles>(verify_hour, verify_minute).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<ScanWaiting>(5).expect(VALID_TIME))
        .with_cron(Cron::hourly_at::<PurgeExports>(45).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<EraseDue>(10).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeBooks>(6, 17).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeRequests>(6, 47).expect(VALID_TIME))
        .with_cron(Cron::hourly_at::<ScheduleSummaries>(25).expect(VALID_TIME))
        .with_cron(Cron::every_n_minutes::<ScheduleNewSummaries>(1).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeSummaries>(6, 37).expect(VALID_TIME))
        .with_cron(Cron::daily_at::<PurgeSuppressions>(6, 27).expect(VALID_TIME))
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
        table(audit::TABLE, Some(state.audit.retention)),
        table(usage::TABLE, Some(state.usage.retention)),
        table(usage::HOURLY_TABLE, Some(state.usage.retention)),
        table(usage::DAILY_TABLE, Some(state.usage.retention)),
        table(events::TABLE, Some(state.usage.events_retention)),
    ]
}

/// Runs a worker until `stop`, and restarts it when it loses the database.
pub async fn run(state: AppState, config: WorkerConfig, stop: CancellationToken) {
    let build = |stop| worker(state.clone(), &config, stop);
    job_queue::run(state.heartbeat.clone(), stop, build).await;
}
