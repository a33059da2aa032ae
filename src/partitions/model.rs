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

/// All tables by month, as the worker is told of them.
#[derive(Clone, Debug)]
pub struct Monthly(pub Vec<Table>);
