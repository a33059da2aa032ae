//! One-time links in emails: tokens, and the pages that they lead to. Owns `one_time_tokens`.

mod model;
mod pages;
mod service;
mod store;

pub(crate) use model::{ADDRESS_LINKS, EmailProof, EmailRequest, Link, Purpose, RESET_LINKS};
pub use pages::{ASSETS, page_assets, page_routes};
pub(crate) use pages::{PAGE_HEAD, PAGE_POLICY};
pub(crate) use service::{accept_emails_again, link_to, send};
pub(crate) use store::{ERASED, EXPIRED, find, is_unlock_recent, use_unlock};
