//! Emails in HTML and plain text, and the suppression list. Owns the table `email_suppressions`. A slice enqueues a job of
//! its own, which calls [`send`].

mod jobs;
mod model;
mod service;
mod store;
mod suppression;

pub(crate) use jobs::email_jobs;
pub use jobs::{Class, JobError, run_job};
pub use model::{AccountUsage, EmailMessage, Suppression, SuppressionReason};
pub use service::{Error, Unsubscribe, page_link, send, send_optional};
pub use suppression::{PurgeSuppressions, list_suppressions, retained, suppress, unsuppress};
