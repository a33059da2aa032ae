//! Files of accounts. Owns the table `files`, the routes `/files`, and the objects below `staging/` and `files/` of the
//! bucket.
//!
//! - An upload goes straight to the store, to a staging key, by a URL that is signed for one size, type and hash.
//!   Completing it copies the object to a key of its own, checks that copy, and only then does the file exist. The URL,
//!   used again, writes to the staging key, which nothing reads after that.
//! - An upload through the service goes to a key of its own at once, since nobody else can write there. The last bytes are
//!   sent once all have been checked, so that no other object is ever made.
//! - No lock is held during a call to the store. Of concurrent completions one sets the row; the others delete their copy.
//! - With a virus scanner a completed file is `scanning` until a job has passed it: before that no URL is signed for it.
//! - The bytes of each file are compared with its row from time to time. `storage` copies the objects to a second place.
//! - A deleted file keeps its object for `FILE_RETENTION`, so that a restored database finds it.

mod comparison;
mod error;
mod jobs;
mod key;
mod model;
mod name;
mod range;
mod routes;
mod scan;
mod service;
mod state;
mod store;
mod upload;
mod verify;

pub use comparison::{Differing, Verification, VerifyError};
pub use jobs::SweepFiles;
pub use key::{ExportedFile, FILES, STAGING, file_of, prefixes_of};
pub use routes::{routes, upload_routes};
pub use scan::{NotifyInfected, ScanFile, ScanWaiting, sample_waiting};
pub use service::{find_stored, set_found};
pub use store::{ERASED, StoredFile, list_complete};
pub use verify::{
    Selection, VERIFY_DAILY_AT, VerifyFiles, count_stored, note_difference, sample_verified,
    verify, verify_copy,
};
