//! Invitations to organisations by email.

mod error;
mod jobs;
mod pages;
mod routes;
mod service;

pub use jobs::SendInvitation;
pub use pages::{page_assets, page_routes};
pub use routes::{invitation_routes, invite_routes, own_routes, public_routes};
