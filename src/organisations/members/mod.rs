//! Members of organisations and their roles.

mod routes;
mod service;

pub use routes::{member_routes, membership_routes, transfer_routes};
pub(super) use service::begin_change;
