//! The fake Stripe over HTTP.

mod calls;
mod clock;
mod pages;
mod support;
