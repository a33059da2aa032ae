//! Sign-in: password, second factor, failed attempts and lockout. Owns `mfa_challenges`.

mod attempt_slots;
mod jobs;
pub(super) mod lockout;
mod model;
mod routes;
mod second_factor;
mod service;
mod store;

pub use attempt_slots::AttemptSlots;
pub use jobs::SendUnlock;
pub(crate) use lockout::{ReauthAttempt, clear_failures};
pub use routes::sign_in_routes;
pub(crate) use store::EXPIRED;
