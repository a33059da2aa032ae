//! Job queue in PostgreSQL (`graphile_worker`). Jobs are enqueued in the transaction that causes them. Owns
//! the schema `graphile_worker`, which the library migrates.

mod context;
mod dead;
mod purge;
mod store;

pub use context::{Failure, JobError, MissingExtension, extension, report, report_final};
pub use dead::{DeadJobsRetention, PurgeDeadJobs};
pub use purge::{PURGE_BATCH, Purges};
pub use store::{Expired, count_dead, enqueue, enqueue_urgent, is_late, queue_state};
