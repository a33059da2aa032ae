//! Job queue in PostgreSQL.

pub use job_queue::*;
