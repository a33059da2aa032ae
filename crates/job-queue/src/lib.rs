//! A job queue in PostgreSQL (`graphile_worker`). Jobs are enqueued in the transaction that causes them.
//! The schema `graphile_worker` belongs to the library.

mod context;
mod dead;
mod inspect;
mod jobs;
mod listener;
pub mod metrics;
mod migrations;
mod owned;
mod purge;
mod store;
mod worker;

pub use context::{Failure, JobError, MissingExtension, extension, report, report_final};
pub use dead::{DeadJobsRetention, PurgeDeadJobs};
pub use inspect::{
    FailedJob, FailedState, JobCounts, Retry, count_jobs, list_failed_jobs, retry_failed_job,
};
pub use migrations::{MigrateError, SCHEMA, migrate};
pub use owned::{OwnedRows, delete_jobs};
pub use purge::{PURGE_BATCH, Purges};
pub use store::{
    Expired, Holds, QueueState, SerialJob, count_dead, enqueue, enqueue_serial, enqueue_urgent,
    is_late, queue_state, wake,
};
pub use worker::{WorkerConfig, WorkerSettings, options, run};
