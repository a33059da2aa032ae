//! Calls to Stripe: the requests and types of async-stripe over kept-alive connections. A call has a deadline, is
//! retried with jitter under one `Idempotency-Key`, and waits for its turn among the calls of a second.
//!
//! async-stripe's own client opens a connection for each call, retries without a key, and loses the status and the
//! `Request-Id` of an error, so that only its requests and types are used.

mod client;
mod currencies;
mod error;
mod form;
pub mod metrics;
mod pace;
mod response;
mod signature;

pub use stripe_billing as billing;
pub use stripe_checkout as checkout;
pub use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
pub use stripe_core as core;
pub use stripe_product as product;
pub use stripe_shared as shared;
pub use stripe_types as types;

pub use client::{Stripe, StripeOptions};
pub use currencies::{CurrencyRules, parse_currency};
pub use error::{CallError, Refusal};
pub use form::PostForm;
pub use response::Listed;
pub use signature::is_signed;

/// API version of every call: that of async-stripe's types.
pub const API_VERSION: &str = "2026-09-30.endive";
