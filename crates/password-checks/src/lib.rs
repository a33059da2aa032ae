//! Checks of new passwords (NIST SP 800-63B-4 §3.1.1.2): known breaches, and words of the account's context.

mod breaches;
mod config;
mod context_words;
pub mod metrics;

pub use breaches::{BreachOptions, Breaches, Unchecked};
pub use config::BreachSettings;
pub use context_words::ContextWords;
