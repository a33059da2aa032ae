//! Invitations to organisations by email.

mod error;
mod jobs;
mod routes;
mod service;

pub use jobs::SendInvitation;
pub use routes::{invitation_routes, own_routes, public_routes};
