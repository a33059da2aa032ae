//! Copy of the object store in a second place (`STORAGE_COPY_BUCKET`), and the commands on objects.
//!
//! - A daily job lists both stores and copies what is missing or newer. Nothing is kept but in the copy itself, so that a
//!   run can be killed anywhere and repeated, and two at once do no harm.
//! - Keys are those of the store. An object that is gone from it has a note below `deleted/`, whose age is the time since
//!   then, and goes with its note after `STORAGE_COPY_RETENTION`. An object that was replaced is kept below `replaced/` for as
//!   long.
//! - An object of a file or of a picture is neither copied nor noted as deleted against its row: bytes with another hash
//!   than the file's are refused, and what a row names stays in the copy however long the store has lost it.
//! - `groundwork-copy.json` says of which bucket the copy is, and when the last complete copy began.

mod area;
mod commands;
mod copy;
mod doctor;
mod error;
mod jobs;
mod listing;
mod marker;
mod restore;

/// Prefix in the copy of notes on objects that are gone from the store.
const DELETED: &str = "deleted/";

/// Prefix in the copy of objects that were replaced.
const REPLACED: &str = "replaced/";

pub use commands::{create_buckets, run};
pub use doctor::findings;
pub use jobs::{CopyObjects, sample};
