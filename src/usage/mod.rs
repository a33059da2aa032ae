//! Metering of requests by account: counted in memory, written in batches, reported to the owner and checked
//! against the monthly quota of the plan. Owns the tables `api_usage`, its rollups
//! `usage_hourly` and `usage_daily`, `usage_backfill`, `usage_totals` and `usage_writers`, and the
//! routes `/usage`.

mod error;
mod jobs;
mod metering;
mod model;
mod routes;
mod service;
mod store;

pub use error::FlushError;
pub use jobs::{BackfillRollups, CompactUsage, PurgeUsage};
pub use metering::{Metering, meter};
pub use model::{DAILY_TABLE, HOURLY_TABLE, TABLE};
pub use routes::{report_routes, routes};
pub use service::{flush, run};
pub use store::{ERASED, find_total, list_closed_hours};
pub use usage_meter::MeterKey;
