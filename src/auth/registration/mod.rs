//! Sign-up and proof of the address.

mod jobs;
mod model;
mod routes;
mod service;

pub use jobs::{SendAlreadyRegistered, SendVerification};
pub use routes::{registration_routes, verification_routes};
