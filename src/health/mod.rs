//! Liveness and readiness probes. Owns the routes `/health*` and no table.

mod model;
mod routes;
mod service;

pub use routes::routes;
