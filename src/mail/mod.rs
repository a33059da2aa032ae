//! The letters we send, in HTML and plain text. Owns no table: a slice that has something to say
//! enqueues a job of its own, and the job calls [`send`].

mod limit;
mod model;
mod service;

pub use limit::Class;
pub use model::Letter;
pub use service::{Error, send};
