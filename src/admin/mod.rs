//! Administration of accounts: search, disable and enable, roles, sessions, audit log, and organisations. Owns the
//! routes `/admin/*` and no table. [`crate::auth::require_admin`] authorizes every request.

mod error;
mod model;
mod routes;
mod service;

pub use routes::{overview_routes, routes};
