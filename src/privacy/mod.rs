//! Personal data that the product keeps: the inventory of every column, job payload and Redis key, and the record of
//! processing (Art. 30 GDPR) that is generated from it.

mod inventory;
mod model;
mod record;
mod retention;

pub use inventory::{JOBS, REDIS, TABLES};
pub use model::{Column, Kind, Store};
pub use record::record_of_processing;
pub use retention::sample as sample_retention;
