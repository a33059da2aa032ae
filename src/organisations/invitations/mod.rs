//! Invitations to organisations by email.

mod error;
mod jobs;
mod model;
mod routes;
mod service;
pub(super) mod store;

pub use jobs::SendInvitation;
pub use routes::{invitation_routes, own_routes, public_routes};
