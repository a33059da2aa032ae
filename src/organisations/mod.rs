//! Accounts that own rows: the personal account of each user, and organisations with members. Owns the tables
//! `accounts`, `account_slugs`, `memberships`, `invitations` and `invitation_blocks`, and the choice of the account
//! that a request acts for.

mod membership;
mod middleware;
mod model;
mod store;

pub use membership::{forget_membership, forget_slug};
pub use middleware::{require_permission, resolve_account};
pub use model::{AccountRef, Slug};
pub use store::lock_account;
