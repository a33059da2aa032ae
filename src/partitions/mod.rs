//! Tables that only grow, by month: partitions are made ahead of time, and old ones go whole. Owns
//! no table; which ones there are stands in `worker.rs`.

mod jobs;
mod model;
mod store;

pub use jobs::MaintainPartitions;
pub use model::{Monthly, PartitionState, Table};
pub use store::state_of;
