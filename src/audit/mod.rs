//! What happened to whose account, by whom and from where: written once and never changed.
//! Owns the table `audit_log` and the making of its monthly partitions.

mod jobs;
mod model;
mod store;

pub use jobs::CreatePartitions;
pub use model::{Entry, Event, Origin};
pub use store::record;
