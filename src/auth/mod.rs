//! Sign-up, sign-in and sessions. Owns the tables `sessions`, `session_revocations`, `refresh_tokens`,
//! `mfa_challenges`, `one_time_tokens` and `email_changes`, the routes `/auth/*`, `/users/me/password`, `/users/me/email`
//! and `/.well-known/jwks.json`, the pages that emailed links lead to, and the emails about accounts.

#[path = "credentials/routes.rs"]
mod account_routes;
#[path = "credentials/email_change.rs"]
mod addresses;
mod admin_gate;
#[path = "sign_in/lockout.rs"]
mod attempts;
#[path = "sessions/browser.rs"]
mod browser;
#[path = "sessions/cookie.rs"]
mod cookie;
#[path = "credentials_change.rs"]
mod credentials;
#[path = "sessions/csrf.rs"]
mod csrf;
#[path = "sessions/document.rs"]
mod document;
mod error;
#[path = "sessions/gate.rs"]
mod gate;
#[path = "credentials/guessable.rs"]
mod guessable;
#[path = "credentials/jobs.rs"]
mod jobs;
#[path = "sessions/legacy_refresh.rs"]
mod legacy_refresh;
#[path = "sessions/model.rs"]
mod model;
#[path = "commands.rs"]
mod operator;
#[path = "admin.rs"]
mod oversight;
#[path = "links/pages.rs"]
mod pages;
mod password;
#[path = "credentials/policy.rs"]
mod policy;
#[path = "jobs.rs"]
mod purge;
#[path = "credentials/reauthentication.rs"]
mod reauthentication;
#[path = "credentials/service.rs"]
mod recovery;
#[path = "sessions/refresh.rs"]
mod refresh;
#[path = "sessions/refresh_token.rs"]
mod refresh_token;
#[path = "sessions/routes.rs"]
mod routes;
#[path = "mfa/service.rs"]
mod second_factor;
mod second_factor_gate;
#[path = "mfa/routes.rs"]
mod second_factor_routes;
#[path = "sign_in/service.rs"]
mod service;
#[path = "sessions/service.rs"]
mod session;
#[path = "sessions/store.rs"]
mod store;
#[path = "sessions/access_token.rs"]
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
