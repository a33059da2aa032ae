//! Accounts that own rows: the personal account of each user, and organisations with members. Owns the tables
//! `accounts`, `account_slugs`, `memberships`, `invitations` and `invitation_blocks`, the routes `/organisations/*`
//! and `/invitations/*`, and the choice of the account that a request acts for.

mod error;
mod invitations;
mod jobs;
mod members;
mod membership;
mod middleware;
mod model;
mod routes;
mod seats;
mod service;
mod slug;
mod store;

pub use error::Error;
pub use invitations::{
    SendInvitation, invitation_routes, invite_routes, own_routes, page_assets, page_routes,
    public_routes,
};
pub use jobs::{NotifyMember, PurgeOrganisations, retained};
pub use members::{member_routes, membership_routes, transfer_routes};
pub use middleware::{require_permission, resolve_account};
pub use model::{Member, OrganisationFilter, OrganisationSummary};
pub use routes::{audit_routes, creation_routes, deletion_routes, organisation_routes, routes};
pub use seats::{CheckSeats, check as check_seats};
pub use slug::{AccountRef, Slug};
pub use store::members::{MemberOf, list_of_user, list_with_permission};
pub use store::{
    ERASED, delete_empty_books, find_summary, insert_books, list_members, list_solely_owned,
    list_summaries, lock_account, lock_owned, remove_member,
};
