//! Tables partitioned by month.

use crate::config::Retention;

/// Table partitioned by month. The database functions that maintain partitions have a list of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// `None` keeps rows for ever.
    pub retention: Option<Retention>,
}

/// State of the partitions of a table, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Consecutive months after this one that have a partition; -1 if this one has none.
    pub months_ahead: i32,
    /// Rows in the default partition, counted up to 100,000.
    pub default_rows: i64,
}

/// All partitioned tables, an extension of the worker.
#[derive(Clone, Debug)]
pub struct PartitionedTables(pub Vec<Table>);
