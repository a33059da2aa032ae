//! Overview of an account: profile, plan, usage by day and last payments. Owns the route `/dashboard` and no
//! table: one statement reads those of `users`, `plans` and `usage`, which saves three round trips.

mod model;
mod routes;
mod store;

pub use routes::routes;
