//! Usage meter: request counts by account, operation, status and minute, in memory until they are written in
//! numbered batches; usage of a period, for quotas; and the ranges of a report over rollups.

mod meter;
mod ranges;

pub use meter::{Batch, Endpoint, EndpointNames, Meter, MeterKey, Sum, minute_of, time_of};
pub use ranges::{Bounds, Ranges, Resolution};
