//! What each account calls: counted in memory behind every signed-in route, written in batches, shown
//! to its owner, and held against the plan's monthly quota. Owns the tables `api_usage`, its rollups
//! `usage_hourly` and `usage_daily`, `usage_backfill`, `usage_totals` and `usage_writers`, and the
//! routes `/usage`.

mod error;
mod jobs;
mod meter;
mod metering;
mod model;
mod ranges;
mod routes;
mod service;
mod store;

pub use error::FlushError;
pub use jobs::{BackfillRollups, PurgeUsage};
pub use meter::{Meter, MeterKey};
pub use metering::{Metering, meter};
pub use model::{DAILY_TABLE, HOURLY_TABLE, TABLE};
pub use routes::routes;
pub use service::{flush, run};
