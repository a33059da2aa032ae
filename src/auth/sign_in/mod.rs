//! Sign-in: password, second factor, failed attempts and lockout. Owns `mfa_challenges`.

mod erasure;
mod jobs;
mod lockout;
mod lockout_commands;
mod model;
mod routes;
mod second_factor;
mod service;
mod store;

pub use erasure::clear_counts;
pub use jobs::SendUnlock;
pub(crate) use lockout::{ReauthAttempt, clear_failures};
pub use lockout_commands::{
    LockedOut, Lockout, clear_account_lockout, clear_client_lockout, list_lockouts,
};
pub use model::SignInProof;
pub use routes::sign_in_routes;
pub use service::prove;
pub(crate) use store::{ERASED, EXPIRED};
