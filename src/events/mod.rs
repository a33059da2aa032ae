//! Events of an account's product, as its programs report them. Owns the tables `events` and
//! `event_totals` and the routes `/events`; old months are dropped as `EVENTS_RETENTION` says.

mod error;
mod jobs;
mod model;
mod routes;
mod service;
mod store;

pub use jobs::PurgeEventTotals;
pub use model::{TABLE, Volume};
pub use routes::routes;
pub use store::{ERASED, stored_in};
