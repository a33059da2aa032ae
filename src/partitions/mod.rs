//! Partitions by month of append-only tables. Owns no table; `worker.rs` lists those that are partitioned.

mod jobs;

pub use jobs::{MaintainPartitions, PartitionedTables, Table};

pub use database::partitions::state_of;
