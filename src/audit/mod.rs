//! Append-only audit log. Owns the tables `audit_log` and `audit_address_progress`, and the route `/audit-log`.
//! Addresses are removed after `AUDIT_ADDRESS_RETENTION`, entries after `AUDIT_RETENTION`.

mod entry;
mod jobs;
mod model;
mod record;
mod routes;
mod service;
mod store;

pub use entry::Entry;
pub use jobs::RemoveAddresses;
pub use model::{Event, TABLE};
pub use record::{Record, RecordFilter};
pub use routes::routes;
pub use service::record_for_process;
pub use store::{erase_details, list_records, restart_address_removal};
