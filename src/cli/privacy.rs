//! Commands about personal data.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub enum Privacy {
    /// Print every column with its purpose, retention, export and erasure; needs no configuration
    ///
    /// It is the page docs/privacy/data.md, the record of processing of Art. 30 GDPR.
    Record,
    /// List the requests that are not done, the oldest first: those of the register, and deletions of accounts
    Requests,
    /// Add a request that arrived by post or email to the register, and print its id
    ///
    /// It is listed with its age by `privacy requests` until it is closed, and raises the alert `DataRequestLate` 20 days
    /// after it was received. Adding it changes nothing about the account. Exits with 5 when the address has no account.
    AddRequest(NewRequestOptions),
    /// Close a request of the register once its answer was sent
    CloseRequest {
        /// The id that `privacy add-request` printed
        #[arg(long)]
        id: Uuid,
        /// How it was answered, in one line without personal data
        #[arg(long)]
        answer: String,
    },
    /// Erase again the users who were erased before, after the database was restored from a backup
    ///
    /// Reads their ids from the object store, where the restore does not reach, and waits until they are erased. Users who
    /// have to wait are listed, with the reason.
    Reapply {
        /// Read the ids from this file instead, one a line: without a store they are in the log
        #[arg(long)]
        ids: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct NewRequestOptions {
    /// Right that the person exercises
    #[arg(long, value_enum)]
    pub kind: RequestKind,
    /// When it was received in RFC 3339, such as 2026-11-28T09:00:00Z
    #[arg(long)]
    pub received: DateTime<Utc>,
    /// Where the request and the answer are kept, such as the number of a ticket; no personal data
    #[arg(long)]
    pub reference: String,
    /// The account's address; without it the person is not known here
    #[arg(long)]
    pub email: Option<String>,
}

/// Rights of the GDPR that a person can exercise by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RequestKind {
    /// A copy of the data (Art. 15 and 20)
    Access,
    /// Correction of the data (Art. 16)
    Rectification,
    /// Deletion of the data (Art. 17)
    Erasure,
    /// Restriction of the processing (Art. 18)
    Restriction,
    /// Objection to the processing (Art. 21)
    Objection,
}

/// Requests about personal data that are answered by hand.
#[derive(Debug, Subcommand)]
pub enum PersonalData {
    /// Write an export of a person's data to a new file, to answer a request under Art. 15 or 20 GDPR
    ///
    /// Verify the person's identity first. Exits with 5 when the address has no account.
    Export {
        /// The account's address
        #[arg(long)]
        email: String,
        /// Path of the ZIP archive, which must not exist
        #[arg(long)]
        output: PathBuf,
    },
    /// Print the state of an account: deletion, hold, verification
    ///
    /// Exits with 5 when the address has no account.
    Show {
        /// The account's address
        #[arg(long)]
        email: String,
    },
    /// Delete an account whose owner has asked for it in writing
    ///
    /// Verify the owner's identity first. Like the request of somebody who is signed in: all sessions end, the owner gets an
    /// email and can cancel it for 30 days. Exits with 5 when the address has no account.
    Erase {
        /// The account's address
        #[arg(long)]
        email: String,
        /// Erase within minutes; it cannot be canceled
        #[arg(long)]
        at_once: bool,
    },
    /// Keep an account, such as for a lawsuit: it is not erased, and its expired rows are not deleted
    ///
    /// A second hold replaces the first. Exits with 5 when the address has no account.
    Hold(HoldOptions),
}

#[derive(Debug, Args)]
pub struct HoldOptions {
    /// The account's address
    #[arg(long)]
    pub email: String,
    /// Why the account must be kept
    #[arg(long, required_unless_present = "release")]
    pub reason: Option<String>,
    /// Name of the person who decided it
    #[arg(long, required_unless_present = "release")]
    pub by: Option<String>,
    /// End of the hold in RFC 3339, such as 2027-06-30T00:00:00Z
    #[arg(long, required_unless_present = "release")]
    pub until: Option<DateTime<Utc>>,
    /// End the hold now
    #[arg(long, conflicts_with_all = ["reason", "by", "until"])]
    pub release: bool,
}
