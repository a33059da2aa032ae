//! Optional emails: who gets them, the links that end them, and the page of preferences. Owns no table: choices are
//! consents, and suppressed addresses belong to `mail`. Owns the routes `/unsubscribe/{token}` and `/email-preferences`.

mod commands;
mod error;
mod form;
mod model;
mod pages;
mod routes;
mod service;

pub use commands::run;
pub use error::Error;
pub use model::UnsubscribeToken;
pub use pages::{page_assets, page_routes};
pub use routes::routes;
pub use service::{Outcome, Recipient, find_recipient, suppress, unsuppress};
