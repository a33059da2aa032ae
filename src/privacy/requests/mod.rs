//! Register of requests about personal data that arrive by post or email. Owns the table `data_requests`, whose closed rows
//! are kept for `DATA_REQUEST_RETENTION`.

mod commands;
mod jobs;
mod model;
mod store;

pub(super) use commands::{add, close, list};
pub use jobs::PurgeRequests;
pub(super) use jobs::retained;
pub(super) use store::find_oldest_open;
