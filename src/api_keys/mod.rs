//! Keys that programs act for an account with. Owns the table `api_keys`, the routes `/api-keys`,
//! the door for programs and the letters about keys.

mod document;
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

pub use document::document_keys;
pub use error::Error;
pub use jobs::{NotifyKeyCreated, NotifyKeyRotated, PurgeKeys};
pub use last_seen::LastSeen;
pub use middleware::authenticate;
pub use routes::routes;
pub use store::revoke_since;
pub use uses::{watch_uses, write_uses};
