//! One-time links in emails: tokens, and the pages that they lead to. Owns `one_time_tokens`.

mod model;
mod pages;
mod service;
mod store;

pub(crate) use model::{EmailProof, EmailRequest, Link, Purpose};
pub use pages::{ASSETS, page_assets, page_routes};
pub(crate) use service::{issue, link_to, whole_hours};
pub(crate) use store::{EXPIRED, consume_unlock, find_address_link, find_reset, is_unlock_recent};
