//! Sign-up, sign-in, sessions and credentials. Owns the tables `sessions`, `session_revocations`,
//! `refresh_tokens`, `mfa_challenges`, `one_time_tokens` and `email_changes`, the routes `/auth/*`,
//! `/users/me/password`, `/users/me/email` and `/.well-known/jwks.json`, the pages that emailed links lead
//! to, and the emails about accounts.
//!
//! From the ground up: `links`, `sessions`, `sign_in`, `credentials`, then `mfa` and `registration`.

mod admin;
mod commands;
mod credentials;
mod credentials_change;
mod error;
mod jobs;
mod links;
mod mfa;
mod middleware;
mod registration;
mod responses;
mod sessions;
mod sign_in;
mod store;

pub use admin::{NotifyNewAdmin, announce_admin};
pub use commands::{
    CommandError, CreateAccount, create_account, create_synthetic_account, promote_account,
    remove_second_factor, sign_out_everybody,
};
pub use credentials::{
    ConfirmNewEmail, NotifyEmailChanging, NotifyPasswordChanged, ReauthProof, SendEmailUndo,
    SendReset, credential_routes, forgotten_password_routes, reauthenticate, recheck_proof,
    recovery_routes,
};
pub use credentials_change::begin_credentials_change;
pub use error::Error;
pub use jobs::{ERASED, PurgeExpired, retained};
pub use links::{ASSETS, page_assets, page_routes};
pub(crate) use links::{PAGE_HEAD, PAGE_POLICY, link_to};
pub use mfa::{enrolment_routes, mfa_routes};
pub use middleware::{
    reject_synthetic_changes, require_acceptance, require_admin, require_second_factor,
};
pub use registration::{
    SendAlreadyRegistered, SendVerification, registration_routes, verification_routes,
};
pub(crate) use responses::problem_groups;
pub use sessions::{
    EndReason, SessionInfo, count_sessions, csrf_routes, document_credentials, end_sessions,
    list_sessions, logout_all_routes, require_session, revoke_access_tokens, session_routes,
    token_routes, watch_revocations, well_known_routes,
};
pub use sign_in::{
    LockedOut, Lockout, SendUnlock, SignInProof, clear_account_lockout, clear_client_lockout,
    clear_counts, list_lockouts, prove, sign_in_routes,
};
