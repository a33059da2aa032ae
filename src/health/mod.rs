//! Liveness and readiness probes. Owns the routes `/health*` and no table.

mod model;
mod probe;
mod routes;
mod service;

pub use model::Draining;
pub use probe::probe;
pub use routes::routes;
