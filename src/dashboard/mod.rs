//! What an account sees first, in one look: itself, its plan, its use by day and its last payments.
//! Owns the route `/dashboard` and no table: its one statement reads those of `users`, `plans` and
//! `usage`, on purpose, since asking each of them would be four round trips.

mod model;
mod routes;
mod store;

pub use routes::routes;
