//! Emails in HTML and plain text. Owns no table: a slice enqueues a job of its own, which calls [`send`].

mod jobs;
mod limit;
mod model;
mod service;

pub(crate) use jobs::email_jobs;
pub use jobs::{JobError, run_job};
pub use limit::Class;
pub use model::EmailMessage;
pub use service::{Error, send};
