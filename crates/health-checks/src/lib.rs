//! Checks of a service's dependencies, for a readiness probe and for a person.

mod cached;
mod findings;
mod status;

pub use cached::CachedCheck;
pub use findings::{Findings, none_of};
pub use status::Status;
