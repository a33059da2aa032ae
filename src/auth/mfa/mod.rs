//! The second factor of an account: turning it on and off, and its recovery codes.

mod model;
mod routes;
mod service;

pub use routes::{enrolment_routes, mfa_routes};
