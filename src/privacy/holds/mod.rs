//! Legal holds: accounts that must be kept, such as for a lawsuit. Owns the table `legal_holds`.
//!
//! A hold defers the erasure of the account, and retention keeps its rows where they have an owner
//! (`scope::LEGAL_HOLDS`). `docs/privacy/erasure.md` lists what is not covered.

mod commands;
mod model;
mod store;

pub(super) use commands::hold;
pub(super) use commands::release_ended;
pub(super) use model::Hold;
pub(super) use store::{find, is_held};
