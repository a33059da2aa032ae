//! What happened to whose account, by whom and from where: written once and never changed.
//! Owns the table `audit_log` and the route `/audit-log`.

mod model;
mod record;
mod routes;
mod store;

pub use model::{Entry, Event, Origin, TABLE};
pub use record::{Record, RecordFilter};
pub use routes::router;
pub use store::{list_records, record};
