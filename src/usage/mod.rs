//! What each account calls: counted in memory behind every signed-in route, written in batches, shown
//! to its owner, and held against the plan's monthly quota. Owns the tables `api_usage`,
//! `usage_totals` and `usage_writers`, and the routes `/usage`.

mod error;
mod jobs;
mod metering;
mod model;
mod routes;
mod service;
mod store;

pub use error::FlushError;
pub use jobs::PurgeUsage;
pub use metering::{Metering, meter};
pub use model::{Month, TABLE};
pub use routes::router;
pub use service::{flush, run};
