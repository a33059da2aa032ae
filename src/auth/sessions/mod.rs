//! Sessions: access and refresh tokens, cookies, CSRF protection, revocation. Owns `sessions`,
//! `session_revocations` and `refresh_tokens`.

mod access_token;
mod bearer;
mod browser;
mod cookie;
mod csrf;
mod document;
mod gate;
mod legacy_refresh;
mod model;
mod refresh;
mod refresh_token;
mod revocation_list;
mod rotation;
mod routes;
mod service;
mod store;

pub(crate) use access_token::expires_after;
pub use bearer::bearer_token;
pub(crate) use browser::leave;
pub(crate) use cookie::{answer, check_sign_in};
pub use document::document_credentials;
pub use gate::{require_session, watch_ended_sessions};
pub use model::{Device, EndReason};
pub(crate) use model::{SignedIn, TokenPair, Transport};
pub use revocation_list::{RevocationList, Verdict};
pub use routes::{csrf_routes, logout_all_routes, session_routes, token_routes, well_known_routes};
pub(crate) use service::{begin_session, begin_session_in, lost_race};
pub use service::{deny_sessions, end_sessions, list_sessions};
pub use store::count_sessions;
pub(crate) use store::{end_all, is_known_client};
