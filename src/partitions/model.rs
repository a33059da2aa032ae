//! Which tables are by month, and how long their months are kept.

use crate::config::Retention;

/// A table that is partitioned by month. The database's functions that make and drop partitions
/// know it by name as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How long its rows are kept; `None` is for ever.
    pub retention: Option<Retention>,
}

/// The partitions of a table, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Months after this one that have a partition, without a gap; -1 when this one has none.
    pub months_ahead: i32,
    /// Rows in the default partition, counted up to 100,000.
    pub default_rows: i64,
}

/// All tables by month, as the worker is told of them.
#[derive(Clone, Debug)]
pub struct Monthly(pub Vec<Table>);
