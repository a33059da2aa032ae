//! Webhooks of Stripe. An event is stored with its id in the statement that enqueues its job, and 2xx is the response to
//! what is stored only: Stripe repeats the rest.

mod envelope;
mod routes;
mod service;
mod store;

pub use routes::webhook_routes;
pub use store::lag as webhook_lag;
pub(super) use store::{list_customers_to_replay, list_events_without_customer};
