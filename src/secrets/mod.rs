//! Secrets: credentials of other services that an account entrusts to the product. Owns the tables `secrets` and
//! `secret_versions`, the routes `/secrets` and the emails about them. `docs/secrets.md` has the rules for clients.
//!
//! The product's own code reads a secret by [`open`].

mod error;
mod jobs;
mod model;
mod routes;
mod service;
mod store;

pub use error::Error;
pub use jobs::{NotifySecretRevealed, PurgeSecrets};
pub use model::{SecretName, SecretValue};
pub use routes::{reveal_routes, routes};
pub use service::open;
pub use store::ERASED;
