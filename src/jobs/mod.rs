//! The queue in PostgreSQL: work that is done later, enqueued in the transaction that causes it,
//! so that there is never one without the other. Owns the schema `graphile_worker`, which the
//! library of that name migrates.

mod dead;
mod given;
mod outcome;
mod purge;
mod store;

pub use dead::{DeadJobsRetention, PurgeDeadJobs};
pub use given::{NotGiven, given};
pub use outcome::{Failure, report, report_final};
pub use purge::{PURGE_BATCH, Purges};
pub use store::{Expired, count_dead, enqueue, enqueue_urgent, is_late, look};
