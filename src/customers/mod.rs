//! The customer at Stripe of each account. Owns the table `billing_customers`.

mod error;
mod service;
mod store;

pub use error::Error;
pub use service::{CREATION_KEYS_KEPT, ensure, locate, stripe};
pub use store::{
    Customer, begin_read, clear, delete, find, find_account, find_payer, is_newest_read, lock,
    mark_trial_used, set_email,
};
