//! Exports of a person's data (Art. 15 and 20 GDPR). Owns the tables `data_exports` and `data_export_parts`, the routes
//! `/users/me/export`, and the objects below `exports/` of the bucket.
//!
//! - A job writes a ZIP archive of what the inventory includes, in parts: objects of the store, or rows without one.
//! - Each attempt writes parts of its own, and the row names the attempt that succeeded: a job that is killed starts again.
//! - The email is enqueued in the transaction that makes the archive available.

mod archive;
mod content;
mod error;
mod jobs;
mod model;
mod parts;
mod routes;
mod service;
mod store;

pub(super) use jobs::retained;
pub use jobs::{MakeExport, NotifyExport, PurgeExports};
pub(super) use parts::prefix_of;
pub use routes::routes;
pub(super) use service::write_to_file;
