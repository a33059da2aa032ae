//! Invoices of an account, as last read from Stripe. Owns the table `invoices` and the route `/billing/invoices`.

mod model;
mod routes;
mod store;

pub use routes::routes;
