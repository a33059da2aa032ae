//! Emails in HTML and plain text. Owns no table: a slice enqueues a job of its own, which calls [`send`].

mod jobs;
mod model;
mod service;

pub(crate) use jobs::email_jobs;
pub use jobs::{Class, JobError, run_job};
pub use model::EmailMessage;
pub use service::{Error, send};
