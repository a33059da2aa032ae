//! Looking after other people's accounts: finding them, shutting and opening them, roles, their
//! sessions, and what the audit log tells of all. Owns no table and the routes `/admin/*`.
//!
//! Who may come here is found out by [`crate::auth::require_admin`] before anything else is read.

mod error;
mod model;
mod routes;
mod service;

pub use routes::routes;
