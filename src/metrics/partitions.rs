//! The metrics of tables that are partitioned by month.

use metrics::gauge;

use super::{PARTITION_DEFAULT_ROWS, PARTITION_MONTHS};

/// The partitions of a table, whose name is a constant of ours.
pub fn set_partitions(table: &'static str, months_ahead: i32, default_rows: u32) {
    gauge!(PARTITION_MONTHS, "table" => table).set(f64::from(months_ahead));
    gauge!(PARTITION_DEFAULT_ROWS, "table" => table).set(f64::from(default_rows));
}
