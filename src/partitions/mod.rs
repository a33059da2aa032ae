//! Partitions by month of append-only tables: created ahead of time, dropped past their retention. Owns no
//! table; `worker.rs` lists those that are partitioned.

mod jobs;
mod model;
mod store;

pub use jobs::MaintainPartitions;
pub use model::{PartitionState, PartitionedTables, Table};
pub use store::state_of;
