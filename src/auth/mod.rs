//! Sign-up, sign-in and sessions. Owns the tables `sessions`, `refresh_tokens` and
//! `one_time_tokens`, the routes `/auth/*`, `/.well-known/jwks.json` and the page that the links in
//! letters lead to, and the letters about accounts.

mod account_routes;
mod error;
mod gate;
mod jobs;
mod model;
mod operator;
mod pages;
mod password;
mod recovery;
mod routes;
mod service;
mod session;
mod store;
mod token;

pub use account_routes::{credentials_router, recovery_router, sessions_router};
pub use error::Error;
pub use gate::{require_session, watch_ended_sessions};
pub use jobs::{
    ConfirmNewEmail, PurgeExpired, SendAlreadyRegistered, SendReset, SendVerification,
    TellEmailChanging, TellPasswordChanged,
};
pub use operator::{OperatorAccount, create_account};
pub use pages::router as pages_router;
pub use password::{NewPassword, PasswordFault};
pub use routes::{router, signed_in_router, well_known_router};
