//! What happens in an account's product, as its programs tell us. Owns the table `events` and the
//! routes `/events`; old months are dropped as `EVENTS_RETENTION` says.

mod error;
mod model;
mod routes;
mod service;
mod store;

pub use model::TABLE;
pub use routes::router;
