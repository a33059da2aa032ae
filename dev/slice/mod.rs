//! Sample items of an account. Owns the table `sample_items` and the routes `/sample-items`.

mod error;
mod jobs;
mod model;
mod routes;
mod service;
mod store;

pub use error::Error;
pub use jobs::PurgeSampleItems;
pub use model::MAX_COUNT;
pub use routes::routes;
