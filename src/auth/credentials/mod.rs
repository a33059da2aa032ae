//! Password and address of an account: reset, change, undoing, and reauthentication before a change. Owns
//! `email_changes`.

mod email_change;
mod guessable;
mod jobs;
mod model;
mod policy;
mod reauthentication;
mod routes;
mod service;
mod store;

pub(crate) use email_change::apply_email_change;
pub use jobs::{
    ConfirmNewEmail, NotifyEmailChanging, NotifyPasswordChanged, SendEmailUndo, SendReset,
};
pub(crate) use policy::check_new_password;
pub use reauthentication::{ReauthProof, reauthenticate, recheck_proof};
pub(crate) use reauthentication::{check_password, is_shown};
pub use routes::{credential_routes, forgotten_password_routes, recovery_routes};
pub(crate) use store::EXPIRED_CHANGES;
