//! Overview of an account: profile or organisation, plan, usage by day and last payments. Owns the route `/dashboard`
//! and no table: one statement reads those of other slices, which saves three round trips.

mod model;
mod routes;
mod store;

pub use routes::routes;
