//! Start page at `/` in development: where everything is, who can sign in, the state of the service and its job queue.
//! Owns no table and is not in the OpenAPI document. Mounted where the docs page is.

mod error;
mod model;
mod routes;
mod service;

pub use routes::{FIRST_SEGMENTS, routes};
