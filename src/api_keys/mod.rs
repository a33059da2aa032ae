//! API keys, for programs that act for an account. Owns the table `api_keys`, the routes `/api-keys`, the
//! authentication of keys and the emails about them.

mod error;
mod jobs;
mod key;
mod last_seen;
mod middleware;
mod model;
mod routes;
mod scope;
mod service;
mod store;
mod uses;

pub use error::Error;
pub use jobs::{NotifyKeyCreated, NotifyKeyRotated, PurgeKeys};
pub use last_seen::LastSeen;
pub use middleware::authenticate;
pub use routes::{document_keys, routes};
pub use store::revoke_since;
pub use uses::{watch_uses, write_uses};
