//! The fake Stripe over HTTP.

mod calls;
mod clock;
mod control;
mod pages;
mod recorded;
mod schema;
mod support;
mod types;
