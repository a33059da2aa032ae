//! What happened to whose account, by whom and from where: written once and never changed.
//! Owns the table `audit_log`, the making of its monthly partitions and the route `/audit-log`.

mod jobs;
mod model;
mod record;
mod routes;
mod store;

pub use jobs::CreatePartitions;
pub use model::{Entry, Event, Origin};
pub use record::{Record, RecordFilter};
pub use routes::router;
pub use store::{list_records, record};
