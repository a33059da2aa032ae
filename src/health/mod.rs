//! Whether the process lives, and whether it is ready for traffic. Owns the routes `/health*` and
//! no table.

mod model;
mod probe;
mod routes;
mod service;

pub use model::Draining;
pub use probe::probe;
pub use routes::routes;
