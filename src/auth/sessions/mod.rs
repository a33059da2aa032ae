//! Sessions: tokens, cookies, CSRF protection, revocation. Owns `sessions`, `session_revocations` and
//! `refresh_tokens`.

mod browser;
mod cookie;
mod grace;
mod legacy_refresh;
mod middleware;
mod model;
mod refresh;
mod routes;
mod service;
mod store;

pub(crate) use browser::end_browser_session;
pub(crate) use cookie::{check_sign_in, token_response};
pub use middleware::require_session;
pub use model::{EndReason, SessionInfo};
pub(crate) use model::{SignedIn, TokenPair, Transport};
pub use routes::{
    csrf_routes, document_credentials, logout_all_routes, session_routes, token_routes,
    well_known_routes,
};
pub(crate) use service::{begin_session, begin_session_in, end_all, overtaken_by_change};
pub use service::{list_sessions, revoke_access_tokens, watch_revocations};
pub(crate) use store::{ERASED, EXPIRED, REVOCATIONS, is_known_client};
pub use store::{count_sessions, end_sessions};
