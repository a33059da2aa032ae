//! The fake Stripe over HTTP.

mod calls;
mod clock;
mod control;
mod idempotency;
mod lists;
mod pages;
mod recorded;
mod schema;
mod support;
mod types;
mod webhooks;
