//! Deletion of accounts (Art. 17 GDPR). Owns the table `account_deletions`, the routes `DELETE /users/me` and
//! `/auth/cancel-deletion`, and the objects below `erased/` of the bucket.
//!
//! - A request ends all sessions and sets `users.erase_at`: until then it can be canceled, and nobody can sign in.
//! - Then a job marks the user as deleted and runs the steps of [`steps`]. Each deletes what it finds, so that a run after
//!   a crash repeats them all. The row of `account_deletions` goes last, days after the user, since Stripe sends
//!   events about its customer for so long.
//! - The ids of erased users are listed where a restore of the database does not reach.

mod commands;
mod error;
mod jobs;
mod list;
mod model;
mod routes;
mod service;
mod steps;
mod store;

pub(super) use commands::{erase, reapply, requests};
pub use error::Error;
pub use jobs::{EraseDue, NotifyDeletion, PurgeBooks};
pub use list::{ERASED, finding};
pub use model::Deferral;
pub use routes::{cancellation_routes, deletion_routes};
pub(super) use store::{find, find_oldest_due};
