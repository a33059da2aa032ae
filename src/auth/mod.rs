//! Sign-up, sign-in and sessions. Owns the tables `sessions`, `session_revocations`, `refresh_tokens`,
//! `mfa_challenges`, `one_time_tokens` and `email_changes`, the routes `/auth/*`, `/users/me/password`, `/users/me/email`
//! and `/.well-known/jwks.json`, the pages that emailed links lead to, and the emails about accounts.

mod account_routes;
mod addresses;
mod admin_gate;
mod attempts;
mod browser;
mod cookie;
mod credentials;
mod csrf;
mod document;
mod error;
mod gate;
mod guessable;
mod jobs;
mod legacy_refresh;
mod lockouts;
mod model;
mod operator;
mod oversight;
mod pages;
mod password;
mod policy;
mod purge;
mod reauthentication;
mod recovery;
mod refresh;
mod refresh_token;
mod routes;
mod second_factor;
mod second_factor_gate;
mod second_factor_routes;
mod service;
mod session;
mod store;
mod token;

pub use account_routes::{credentials_router, forgotten_router, recovery_router, sessions_router};
pub use admin_gate::require_admin;
pub use browser::csrf_router;
pub use credentials::begin_credentials_change;
pub use document::document_credentials;
pub use error::Error;
pub use gate::{bearer_token, require_session, watch_ended_sessions};
pub use jobs::{
    ConfirmNewEmail, NotifyNewAdmin, SendAlreadyRegistered, SendEmailUndo, SendReset, SendUnlock,
    SendVerification, TellEmailChanging, TellPasswordChanged,
};
pub use lockouts::{
    LockedOut, Lockout, clear_account_lockout, clear_client_lockout, list_lockouts,
};
pub use model::Device;
pub use operator::{
    OperatorAccount, OperatorError, create_account, promote_account, remove_second_factor,
};
pub use oversight::{
    announce_admin, count_living_sessions, end_sessions_of, list_sessions_of, shut_out,
};
pub use pages::{ASSETS, router as pages_router};
pub use password::{NewPassword, PasswordFault, TriedPassword};
pub use purge::PurgeExpired;
pub use reauthentication::{Shown, reauthenticate, recheck_proof};
pub use routes::{register_router, router, session_router, signed_in_router, well_known_router};
pub use second_factor_gate::require_second_factor;
pub use second_factor_routes::{mfa_router, second_step_router};
pub use session::deny as deny_sessions;
