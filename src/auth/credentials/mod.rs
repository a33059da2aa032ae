//! Password and address of an account: reset, change, undoing, and reauthentication before a change. Owns
//! `email_changes`.

mod email_change;
mod jobs;
mod model;
mod new_password;
mod reauthentication;
mod routes;
mod service;
mod store;

pub(crate) use email_change::apply_email_change;
pub use jobs::{
    ConfirmNewEmail, NotifyEmailChanging, NotifyPasswordChanged, SendEmailUndo, SendReset,
};
pub(crate) use new_password::check_new_password;
pub(crate) use reauthentication::check_password;
pub use reauthentication::{ReauthProof, reauthenticate, recheck_proof};
pub use routes::{credential_routes, forgotten_password_routes, recovery_routes};
pub(crate) use store::{ERASED, EXPIRED_CHANGES};
