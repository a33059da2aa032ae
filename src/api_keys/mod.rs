//! API keys, for programs that act for an account. Owns the table `api_keys`, the routes `/api-keys`, the
//! authentication of keys and the emails about them.

mod error;
mod jobs;
mod middleware;
mod model;
mod routes;
mod scope;
mod service;
mod store;

pub use error::Error;
pub use jobs::{NotifyKeyCreated, NotifyKeyRotated, PurgeKeys, retained};
pub use middleware::authenticate;
pub use routes::{document_keys, routes};
pub use service::{watch_uses, write_uses};
pub use store::{ERASED, give_to_owners, revoke_personal, revoke_since};
