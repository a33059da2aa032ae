//! Subscriptions bought at Stripe: checkout, the customer portal, webhooks, and the rows that follow what is true at
//! Stripe. Owns the tables `checkouts`, `stripe_events`, `invoices`, `billing_notices` and `billed_usage`, and the routes
//! `/billing/*` and `/webhooks/stripe`.
//!
//! A webhook event says that something changed, not what is true: [`sync`] reads the objects of the customer and
//! stores those, so that order, duplicates and losses of events do not matter.

mod accounts;
mod checkout;
mod commands;
mod doctor;
mod duplicates;
mod erasure;
mod error;
mod invoices;
mod jobs;
mod manage;
mod model;
mod money;
mod notices;
mod pages;
mod queue;
mod reconcile;
mod routes;
mod store;
mod subscriptions;
mod sync;
mod usage;
mod webhook;

pub use commands::{Reconciled, reconcile, replay};
pub use doctor::findings;
pub use erasure::delete_customer;
pub use error::Error;
pub use invoices::routes as invoice_routes;
pub use jobs::{CompareUsage, FollowAccounts, PurgeBilling, ReconcileStale, SendUsage, retained};
pub use notices::NotifyBilling;
pub use pages::page_routes;
pub use queue::{EndDuplicate, SyncCustomer, SyncEvent};
pub use routes::routes;
pub use store::{ERASED, delete_books, delete_events, has_books, move_invoices};
pub use webhook::{webhook_lag, webhook_routes};
