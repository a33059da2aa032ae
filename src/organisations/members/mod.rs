//! Members of organisations and their roles.

mod model;
mod routes;
mod service;
pub(super) mod store;

pub use model::Member;
pub use routes::{member_routes, membership_routes, transfer_routes};
pub(super) use service::begin_change;
pub use store::list as list_members;
