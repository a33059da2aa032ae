//! Invoices of an account, as last read from Stripe. Owns the table `invoices` and the route `/billing/invoices`.

mod model;
mod provided;
mod routes;
mod store;

pub(super) use provided::provided_invoice;
pub use routes::routes;
