//! Emails in HTML and plain text. Owns no table: a slice enqueues a job of its own, which calls [`send`].

mod limit;
mod model;
mod service;

pub use limit::Class;
pub use model::EmailMessage;
pub use service::{Error, send};
